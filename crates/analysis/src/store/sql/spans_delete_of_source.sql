delete from spans where source = $1
