SELECT blob, media_type
FROM covers
WHERE hash = $1
