select sequence, first, last from changes where source = $1 and sequence > $2 order by sequence limit $3
