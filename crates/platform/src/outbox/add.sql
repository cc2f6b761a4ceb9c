INSERT INTO outbox (topic, queue_group, message_id, kind, source, time, trace, body)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
