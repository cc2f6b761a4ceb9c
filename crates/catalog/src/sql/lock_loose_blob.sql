UPDATE loose_blobs
SET since = since
WHERE blob = $1
