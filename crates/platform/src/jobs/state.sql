SELECT owner, lease_until, tried_at, finished_at FROM jobs WHERE name = $1
