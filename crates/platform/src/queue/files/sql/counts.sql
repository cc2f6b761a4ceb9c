SELECT group_name, state, count(*), min(published) FROM deliveries GROUP BY group_name, state
