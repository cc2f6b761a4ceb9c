SELECT position, records, done FROM cursors WHERE group_name = $1 AND segment = $2
