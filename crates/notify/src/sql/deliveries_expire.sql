delete from deliveries where ended_at < $1
