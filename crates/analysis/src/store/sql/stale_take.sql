delete from stale
where (source, resolution, time, mark) in (
    select cast(value ->> 0 as bigint), cast(value ->> 1 as bigint), cast(value ->> 2 as bigint), cast(value ->> 3 as bigint)
    from json_each($1))
returning source, time
