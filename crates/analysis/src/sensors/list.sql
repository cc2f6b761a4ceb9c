select id, name, latitude, longitude, timezone, plan, retention, created_at, deleted_at
from sensors
where deleted_at is null and id > $1
order by id
limit $2
