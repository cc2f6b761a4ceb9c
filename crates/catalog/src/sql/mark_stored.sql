UPDATE songs
SET status = 'stored', reason = NULL, duration = $2, stored_at = $3, failed_at = NULL
WHERE id = $1
