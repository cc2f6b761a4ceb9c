update recordings set plan_version = $2 where id = $1
