select id, attempts, status, problem, ended_at, arrived, next_at from deliveries
where hook = $1 and test = 1
order by noted_at desc, id desc
limit 1
