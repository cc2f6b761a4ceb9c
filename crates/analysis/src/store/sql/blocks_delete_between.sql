delete from blocks where source = $1 and layer = $2 and minute >= $3 and minute < $4
