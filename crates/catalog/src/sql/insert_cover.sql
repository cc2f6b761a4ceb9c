INSERT INTO covers (hash, blob, media_type)
VALUES ($1, $2, $3)
