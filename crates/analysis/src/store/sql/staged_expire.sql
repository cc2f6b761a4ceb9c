delete from staged_results where arrived_at < $1
