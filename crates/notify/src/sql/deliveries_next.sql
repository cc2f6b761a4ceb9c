select min(next_at) from deliveries where ended_at is null and next_at > $1
