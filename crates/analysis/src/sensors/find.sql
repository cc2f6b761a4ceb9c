select id, plan, retention
from sensors
where id = $1 and deleted_at is null
