select minute from blocks where source = $1 and layer = $2 order by minute limit 1
