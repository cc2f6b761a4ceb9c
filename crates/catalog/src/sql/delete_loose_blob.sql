DELETE FROM loose_blobs
WHERE blob = $1
