update alerts set definition = $2, hook = $3, enabled = $4, version = version + 1, floor = $5, position = $6, seen = $7
where id = $1
