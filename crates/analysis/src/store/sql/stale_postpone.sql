update stale set due = $4 where source = $1 and resolution = $2 and time = $3
