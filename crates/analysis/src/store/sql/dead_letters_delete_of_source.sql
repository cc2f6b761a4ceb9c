delete from dead_letters where source = $1
