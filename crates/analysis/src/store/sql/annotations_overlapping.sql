select annotations.start, annotations.finish, layers.algorithm, layers.version, layers.layer, annotations.label,
    annotations.value, annotations.confidence, annotations.open_start, annotations.open_end, recordings.name,
    recordings.start
from annotations
    join layers on layers.id = annotations.layer
    join recordings on recordings.id = annotations.recording
where annotations.source = $1 and annotations.start >= $2 and annotations.start < $3 and annotations.finish > $4
order by annotations.start, recordings.start, recordings.name, layers.algorithm, layers.version, layers.layer,
    annotations.piece, annotations.number
