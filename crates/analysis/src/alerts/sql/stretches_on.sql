select c.began, n.last
from alerts a
join alert_changes c on c.alert = a.id and c.is_on = 1
left join alert_changes n on n.alert = c.alert and n.number = c.number + 1
where a.sensor = $1
order by c.began
