update alerts set is_on = $5, floor = $6, position = $7, seen = $8, number = $9
where id = $1 and version = $2 and seen = $3 and number = $4
