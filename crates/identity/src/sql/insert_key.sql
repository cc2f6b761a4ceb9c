INSERT INTO api_keys (id, hash, role, sensor, created, revoked)
VALUES ($1, $2, $3, $4, $5, NULL)
