update recordings set finish = $2, status = $3, stored_at = $4, failed_at = $5, reason = $6, partial = $7, plan_version = $8, pieces = $9
where id = $1
