insert into song_plans (version, since, plan) values ($1, $2, $3)
