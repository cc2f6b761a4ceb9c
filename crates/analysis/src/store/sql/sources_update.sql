update sources
set revision = cast(new.value ->> 1 as bigint), sequence = cast(new.value ->> 2 as bigint),
    longest = cast(new.value ->> 3 as bigint), last_arrival = cast(new.value ->> 4 as bigint),
    last_lag = cast(new.value ->> 5 as bigint)
from json_each($1) as new
where sources.id = cast(new.value ->> 0 as bigint)
