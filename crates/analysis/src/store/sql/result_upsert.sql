insert into results (recording, piece, grp, plan_version, parts, start, finish, fault, layers)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
on conflict (recording, piece, grp) do update set plan_version = excluded.plan_version, parts = excluded.parts,
    start = excluded.start, finish = excluded.finish, fault = excluded.fault, layers = excluded.layers
