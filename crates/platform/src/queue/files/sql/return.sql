UPDATE deliveries SET
    state = asked.value ->> 2,
    owner = NULL,
    not_before = asked.value ->> 3,
    deliveries = deliveries.deliveries - (asked.value ->> 4),
    retries = retries + (asked.value ->> 5),
    reason = coalesce(asked.value ->> 6, reason),
    died = coalesce(asked.value ->> 7, died),
    died_after = CASE WHEN asked.value ->> 7 IS NULL THEN died_after ELSE deliveries.deliveries END
FROM json_each($1) AS asked
WHERE deliveries.id = asked.value ->> 0 AND deliveries.deliveries = asked.value ->> 1
    AND deliveries.state IN (1, 3)
