SELECT not_before FROM deliveries WHERE group_name = $1 AND state = $2 ORDER BY not_before LIMIT 1
