SELECT id, role, sensor, created
FROM api_keys
WHERE sensor = $1 AND revoked IS NULL AND id > $2
ORDER BY id
LIMIT $3
