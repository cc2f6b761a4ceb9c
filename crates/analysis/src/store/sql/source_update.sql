update sources set revision = $2, sequence = $3, longest = $4, last_arrival = $5, last_lag = $6 where id = $1
