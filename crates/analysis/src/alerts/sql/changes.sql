select number, is_on, began, last, value, late, told_at, hook
from alert_changes
where alert = $1 and number < $2
order by number desc
limit $3
