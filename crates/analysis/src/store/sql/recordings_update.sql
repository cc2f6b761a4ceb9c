update recordings
set finish = cast(new.value ->> 1 as bigint), status = cast(new.value ->> 2 as bigint),
    stored_at = cast(new.value ->> 3 as bigint), failed_at = cast(new.value ->> 4 as bigint), reason = new.value ->> 5,
    partial = cast(new.value ->> 6 as bigint), plan_version = cast(new.value ->> 7 as bigint),
    pieces = cast(new.value ->> 8 as bigint)
from json_each($1) as new
where recordings.id = cast(new.value ->> 0 as bigint)
