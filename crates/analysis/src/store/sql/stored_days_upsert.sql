insert into stored_days (source, day, last_stored_at)
select cast(value ->> 0 as bigint), cast(value ->> 1 as bigint), $2 from json_each($1) where true
on conflict (source, day) do update set last_stored_at = excluded.last_stored_at
