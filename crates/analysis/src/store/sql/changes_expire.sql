delete from changes where at < $1
