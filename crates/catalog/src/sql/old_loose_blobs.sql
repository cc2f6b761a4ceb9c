SELECT blob
FROM loose_blobs
WHERE since < $1
ORDER BY since
LIMIT $2
