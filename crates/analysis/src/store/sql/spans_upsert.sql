insert into spans (source, start, finish)
select cast(value ->> 0 as bigint), cast(value ->> 1 as bigint), cast(value ->> 2 as bigint) from json_each($1) where true
on conflict (source, start) do update set finish = excluded.finish
