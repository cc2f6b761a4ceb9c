update deliveries set next_at = $3, status = $4, problem = $5 where id = $1 and attempts = $2 and ended_at is null
