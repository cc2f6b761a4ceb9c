INSERT INTO groups (name, topic) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING
