update deliveries set attempts = attempts + 1, next_at = $3 where id = $1 and attempts = $2 and ended_at is null
