INSERT INTO deliveries (group_name, segment, position, state, owner, not_before, published, deliveries, retries)
SELECT $1, $2, value ->> 0, 1, $3, 0, value ->> 1, 1, 0 FROM json_each($4)
RETURNING id, position
