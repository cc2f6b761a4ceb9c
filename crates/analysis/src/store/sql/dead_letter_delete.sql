delete from dead_letters where id = $1
