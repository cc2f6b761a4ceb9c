select layers.id, layers.kind, layers.algorithm, layers.version, layers.layer
from source_layers join layers on layers.id = source_layers.layer
where source_layers.source = $1
order by layers.id
