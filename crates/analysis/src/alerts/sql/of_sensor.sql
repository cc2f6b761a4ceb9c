select id, hook from alerts where sensor = $1
