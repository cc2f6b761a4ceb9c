select count(*) from alerts where sensor = $1
