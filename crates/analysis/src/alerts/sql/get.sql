select id, sensor, definition, hook, is_on, floor, position, seen, number, version, enabled, created_at
from alerts
where id = $1
