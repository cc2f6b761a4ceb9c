delete from stored_days where source = $1
