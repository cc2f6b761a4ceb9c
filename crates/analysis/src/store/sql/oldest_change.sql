select sequence, first, last from changes where source = $1 order by sequence limit 1
