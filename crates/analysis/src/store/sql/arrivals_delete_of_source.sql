delete from arrivals where source = $1
