select id, attempts, status, problem, ended_at, arrived, next_at from deliveries where id = $1
