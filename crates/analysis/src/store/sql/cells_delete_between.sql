delete from cells where source = $1 and layer = $2 and resolution = $3 and time >= $4 and time < $5
