UPDATE deliveries SET
    owner = NULL,
    not_before = 0,
    state = CASE WHEN state = 3 OR deliveries >= $2 THEN 2 ELSE 0 END,
    reason = CASE WHEN state = 1 AND deliveries >= $2 THEN $3 ELSE reason END,
    died = CASE WHEN state = 1 AND deliveries >= $2 THEN $4 ELSE died END,
    died_after = CASE WHEN state = 1 AND deliveries >= $2 THEN deliveries ELSE died_after END
WHERE owner = $1
