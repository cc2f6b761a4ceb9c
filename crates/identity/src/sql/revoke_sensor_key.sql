UPDATE api_keys
SET revoked = $3
WHERE sensor = $1 AND id = $2 AND revoked IS NULL
