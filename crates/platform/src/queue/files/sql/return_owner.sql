UPDATE deliveries SET
    owner = NULL,
    -- From the third time on it waits: 1, 2, 4, 8, 16, 30, 30, ... s. What kills its consumers would otherwise keep
    -- them from all other messages, and take those that are held with it to the limit.
    not_before = CASE WHEN state = 1 AND deliveries >= 3 THEN $4 + min(30, 1 << min(deliveries - 3, 5)) * 1000000
        ELSE 0 END,
    state = CASE WHEN state = 3 OR deliveries >= $2 THEN 2 ELSE 0 END,
    reason = CASE WHEN state = 1 AND deliveries >= $2 THEN $3 ELSE reason END,
    died = CASE WHEN state = 1 AND deliveries >= $2 THEN $4 ELSE died END,
    died_after = CASE WHEN state = 1 AND deliveries >= $2 THEN deliveries ELSE died_after END
WHERE owner = $1
