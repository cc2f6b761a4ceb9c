delete from deliveries where hook = $1 and ended_at is not null and test = 0 and number <= $2
