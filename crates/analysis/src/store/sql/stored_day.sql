select last_stored_at from stored_days where source = $1 and day = $2
