INSERT INTO loose_blobs (blob, since)
VALUES ($1, $2)
