insert into reanalyses (recording, plan_version, queued_at, message) values ($1, $2, $3, $4)
on conflict (recording) do update set plan_version = excluded.plan_version, queued_at = excluded.queued_at,
    message = excluded.message
