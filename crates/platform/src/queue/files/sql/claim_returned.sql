UPDATE deliveries SET state = $2 + 1, owner = $4, deliveries = deliveries + 1
WHERE id IN (
    SELECT id FROM deliveries WHERE group_name = $1 AND state = $2 AND not_before <= $3
    ORDER BY not_before, id LIMIT $5
)
RETURNING id, segment, position, deliveries, retries, reason, died, died_after
