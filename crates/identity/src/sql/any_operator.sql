SELECT 1
FROM api_keys
WHERE role = 'operator' AND revoked IS NULL
LIMIT 1
