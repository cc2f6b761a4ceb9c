update recordings set audio = 1 where name = $1 and status = 2
