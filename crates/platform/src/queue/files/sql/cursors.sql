SELECT segment, position, records, done FROM cursors WHERE group_name = $1
