insert into recordings (name, source, start, finish, status, accepted_at, partial, plan_version, audio)
select unhex(value ->> 0), cast(value ->> 1 as bigint), cast(value ->> 2 as bigint), cast(value ->> 2 as bigint), 0,
    cast(value ->> 3 as bigint), 0, 0, cast(value ->> 4 as bigint)
from json_each($1) where true
on conflict (name) do nothing
