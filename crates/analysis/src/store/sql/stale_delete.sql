delete from stale where source = $1 and resolution = $2 and time = $3 and mark = $4
