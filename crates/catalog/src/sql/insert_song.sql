INSERT INTO songs (id, status, title, file_name, search, size, media_type, blob, accepted_at, artist, album, tags, cover)
VALUES ($1, 'accepted', $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (id) DO NOTHING
