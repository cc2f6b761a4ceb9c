delete from cells
where source = $1 and (layer, resolution, time) in (
    select layer, resolution, time from cells where source = $1 limit $2
)
