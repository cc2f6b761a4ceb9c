select id, grp, message_id, kind, source, died_at, deliveries, reason, length(body) from dead_letters
where (died_at, id) < ($1, $2)
order by died_at desc, id desc
limit $3
