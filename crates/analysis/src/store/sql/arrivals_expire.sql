delete from arrivals where minute < $1
