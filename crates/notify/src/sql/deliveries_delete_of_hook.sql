delete from deliveries where hook = $1 and ended_at is null
