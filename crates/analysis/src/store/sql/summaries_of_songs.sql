select layers.algorithm, layers.version, layers.layer, summaries.number, summaries.text, summaries.reason, summaries.source
from summaries join layers on layers.id = summaries.layer
where summaries.source in (select cast(value ->> 0 as bigint) from json_each($1))
    and summaries.layer in (select cast(value ->> 0 as bigint) from json_each($2))
