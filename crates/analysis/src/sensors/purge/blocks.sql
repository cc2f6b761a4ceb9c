delete from blocks
where source = $1 and (layer, minute, start, recording, piece) in (
    select layer, minute, start, recording, piece from blocks where source = $1 limit $2
)
