select id, grp, message_id, kind, source, died_at, deliveries, reason, length(body), time, trace, body from dead_letters where id = $1
