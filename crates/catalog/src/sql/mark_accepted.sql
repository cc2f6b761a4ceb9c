UPDATE songs
SET status = 'accepted', reason = NULL, failed_at = NULL
WHERE id = $1 AND status = 'failed'
