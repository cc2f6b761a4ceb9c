select minute, lag
from arrivals
where source = $1 and minute >= $2
order by minute
