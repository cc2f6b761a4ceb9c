SELECT id, role, sensor, created
FROM api_keys
WHERE revoked IS NULL AND id > $1
ORDER BY id
LIMIT $2
