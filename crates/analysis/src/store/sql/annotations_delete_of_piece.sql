delete from annotations
where source = $1 and start >= $2 and start <= $3 and recording = $4 and layer = $5 and piece = $6
