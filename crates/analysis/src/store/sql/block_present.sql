select minute from blocks where source = $1 and layer = $2 and minute >= $3 and minute <= $4 order by minute limit 1
