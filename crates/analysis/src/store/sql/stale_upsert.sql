insert into stale (source, resolution, time, mark, due)
select cast(value ->> 0 as bigint), cast(value ->> 1 as bigint), cast(value ->> 2 as bigint), cast(value ->> 3 as bigint),
    cast(value ->> 4 as bigint)
from json_each($1) where true
on conflict (source, resolution, time) do update set mark = excluded.mark, due = excluded.due
