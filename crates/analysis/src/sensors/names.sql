select id
from sensors
order by id
limit $1
