DELETE FROM covers
WHERE hash = $1
