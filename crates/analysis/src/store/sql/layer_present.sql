select 1 from blocks where source = $1 and layer = $2 and minute >= $3 and minute <= $4
union all
select 1 from cells where source = $1 and layer = $2 and resolution = 60 and time >= $5 and time <= $6
limit 1
