update deliveries set ended_at = $3, arrived = $4, status = $5, problem = $6, body = $7
where id = $1 and attempts = $2 and ended_at is null
