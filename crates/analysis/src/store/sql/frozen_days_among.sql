select frozen_days.source, frozen_days.day
from json_each($1) as wanted cross join frozen_days
where frozen_days.source = cast(wanted.value ->> 0 as bigint) and frozen_days.day = cast(wanted.value ->> 1 as bigint)
