select time from cells where source = $1 and layer = $2 and resolution = $3 order by time limit 1
