insert into arrivals (source, minute, lag)
select cast(value ->> 0 as bigint), cast(value ->> 1 as bigint), cast(value ->> 2 as bigint) from json_each($1) where true
on conflict (source, minute) do update
    set lag = case when excluded.lag < arrivals.lag then excluded.lag else arrivals.lag end
