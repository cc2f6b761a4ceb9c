insert into changes (source, sequence, first, last, at)
select cast(value ->> 0 as bigint), cast(value ->> 1 as bigint), cast(value ->> 2 as bigint), cast(value ->> 3 as bigint), $2
from json_each($1)
