insert into alerts (id, sensor, definition, hook, enabled, created_at, version, is_on, floor, position, seen, number)
values ($1, $2, $3, $4, $5, $6, 1, 0, $7, $7, $8, 0)
