DELETE FROM deliveries WHERE segment = $1
