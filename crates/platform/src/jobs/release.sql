UPDATE jobs SET owner = NULL, lease_until = 0, finished_at = coalesce($3, finished_at) WHERE name = $1 AND owner = $2
