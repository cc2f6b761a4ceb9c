delete from spans where source = $1 and start = $2
