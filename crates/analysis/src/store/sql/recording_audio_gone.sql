update recordings set audio = 0 where id = $1
