delete from changes where source = $1
