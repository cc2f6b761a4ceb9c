select name from recordings where id = $1
