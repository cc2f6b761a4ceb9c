select id, sensor, definition, hook, is_on, floor, position, seen, number, version, enabled, created_at
from alerts
where id > $1 and ($2 = '' or sensor = $2) and (is_on = $3 or $3 < 0)
order by id
limit $4
