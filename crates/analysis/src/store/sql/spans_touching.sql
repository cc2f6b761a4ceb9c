select distinct spans.source, spans.start, spans.finish
from json_each($1) as heard cross join spans
where spans.source = cast(heard.value ->> 0 as bigint) and spans.start <= cast(heard.value ->> 2 as bigint)
    and spans.finish >= cast(heard.value ->> 1 as bigint)
    and spans.start >= coalesce(
        (select max(earlier.start) from spans as earlier
            where earlier.source = cast(heard.value ->> 0 as bigint) and earlier.start <= cast(heard.value ->> 1 as bigint)),
        cast(heard.value ->> 1 as bigint))
order by spans.source, spans.start
