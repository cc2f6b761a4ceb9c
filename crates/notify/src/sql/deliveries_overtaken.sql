update deliveries set ended_at = $4, problem = $5, body = $6
where hook = $1 and ended_at is null and test = $2 and number <= $3 and id <> $7
