SELECT tags, cover, file_name
FROM songs
WHERE id = $1
