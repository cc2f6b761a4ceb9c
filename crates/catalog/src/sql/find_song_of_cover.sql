SELECT id
FROM songs
WHERE cover = $1
LIMIT 1
