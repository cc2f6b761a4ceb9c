select count(*) from deliveries where ended_at is null
