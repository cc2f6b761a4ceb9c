select time from cells where source = $1 and layer = $2 and resolution = 60 and time >= $3 and time < $4 order by time limit 1
