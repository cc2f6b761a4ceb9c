SELECT id, status, reason, title, artist, album, duration, size, media_type, blob, accepted_at, stored_at, failed_at
FROM songs
WHERE id = $1
