insert into staged_results (recording, piece, grp, plan_version, part, parts, arrived_at, data)
values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict (recording, piece, grp, plan_version, part) do nothing
