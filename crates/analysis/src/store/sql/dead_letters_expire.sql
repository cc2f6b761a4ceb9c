delete from dead_letters where died_at < $1
