delete from recordings where id = $1
