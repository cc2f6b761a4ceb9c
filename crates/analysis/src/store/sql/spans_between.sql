select start, finish from spans where source = $1 and start > $2 and start <= $3 order by start
