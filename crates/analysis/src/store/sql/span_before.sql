select start, finish from spans where source = $1 and start <= $2 order by start desc limit 1
