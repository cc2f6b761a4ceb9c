SELECT tags, cover
FROM songs
WHERE id = $1
