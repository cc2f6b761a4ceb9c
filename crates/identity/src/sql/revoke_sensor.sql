UPDATE api_keys
SET revoked = $2
WHERE sensor = $1 AND revoked IS NULL
