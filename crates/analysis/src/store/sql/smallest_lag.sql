select min(lag) from arrivals where source = $1 and minute >= $2
