insert into results (recording, piece, grp, plan_version, parts, start, finish, fault, layers)
select cast(value ->> 0 as bigint), cast(value ->> 1 as bigint), value ->> 2, cast(value ->> 3 as bigint),
    cast(value ->> 4 as bigint), cast(value ->> 5 as bigint), cast(value ->> 6 as bigint), cast(value ->> 7 as bigint),
    unhex(value ->> 8)
from json_each($1) where true
on conflict (recording, piece, grp) do update set plan_version = excluded.plan_version, parts = excluded.parts,
    start = excluded.start, finish = excluded.finish, fault = excluded.fault, layers = excluded.layers
