select sources.id, sources.name, recordings.finish
from sources join recordings on recordings.source = sources.id and recordings.start = 0
where sources.kind = 2 and sources.name > $1 and recordings.finish > 0
    and (cast($3 as bigint) = 0 or sources.name in (select value ->> 0 from json_each($4)))
    and (cast($5 as bigint) = 0 or exists (
        select 1 from summaries
        where summaries.source = sources.id and summaries.number between $7 and $8
            and summaries.layer in (select cast(value ->> 0 as bigint) from json_each($6))))
    and (cast($9 as bigint) = 0 or exists (
        select 1 from summaries
        where summaries.source = sources.id and summaries.text in (select value ->> 0 from json_each($11))
            and summaries.layer in (select cast(value ->> 0 as bigint) from json_each($10))))
order by sources.name
limit $2
