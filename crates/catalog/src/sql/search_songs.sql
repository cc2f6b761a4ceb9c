SELECT id, status, reason, title, artist, album, duration, size, media_type, blob, accepted_at, stored_at, failed_at
FROM songs
WHERE (accepted_at < $1 OR (accepted_at = $1 AND id < $2))
    AND search LIKE $4 ESCAPE '!'
ORDER BY accepted_at DESC, id DESC
LIMIT $3
