INSERT INTO jobs (name, owner, lease_until, tried_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (name) DO UPDATE
SET owner = excluded.owner, lease_until = excluded.lease_until, tried_at = excluded.tried_at
