delete from annotations
where source = $1 and (start, recording, layer, piece, number) in (
    select start, recording, layer, piece, number from annotations where source = $1 limit $2
)
