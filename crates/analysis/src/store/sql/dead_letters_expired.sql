select id from dead_letters where died_at < $1 order by died_at limit 64
