select a.id, a.sensor, a.definition, a.hook, a.is_on, a.floor, a.position, a.seen, a.number, a.version
from alerts a join sources s on s.kind = 1 and s.name = a.sensor
where a.enabled = 1 and a.seen <> s.sequence and a.id > $1
order by a.id
limit $2
