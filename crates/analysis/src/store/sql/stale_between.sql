select time, mark from stale where source = $1 and resolution = $2 and time >= $3 and time < $4 order by time
