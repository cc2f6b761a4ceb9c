delete from deliveries where hook = $1
