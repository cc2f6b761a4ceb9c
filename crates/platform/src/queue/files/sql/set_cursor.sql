INSERT INTO cursors (group_name, segment, position, records, done) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (group_name, segment) DO UPDATE SET position = $3, records = $4, done = $5
