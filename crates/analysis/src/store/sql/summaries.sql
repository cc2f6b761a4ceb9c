select layers.algorithm, layers.version, layers.layer, summaries.number, summaries.text, summaries.reason
from summaries join layers on layers.id = summaries.layer
where summaries.source = $1
order by layers.algorithm, layers.layer, layers.version
