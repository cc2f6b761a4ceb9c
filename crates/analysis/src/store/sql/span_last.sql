select start, finish from spans where source = $1 order by start desc limit 1
