SELECT number, topic, queue_group, message_id, kind, source, time, trace, body
FROM outbox
WHERE number > $1
ORDER BY number
LIMIT $2
