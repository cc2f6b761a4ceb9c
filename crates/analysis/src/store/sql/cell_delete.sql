delete from cells where source = $1 and resolution = $2 and time = $3 and layer = $4
