SELECT id, role, sensor
FROM api_keys
WHERE hash = $1 AND revoked IS NULL
