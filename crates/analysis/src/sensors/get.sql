select id, name, latitude, longitude, timezone, plan, retention, created_at, deleted_at
from sensors
where id = $1
