UPDATE songs
SET status = 'failed', reason = $2, failed_at = $3
WHERE id = $1 AND status <> 'stored'
