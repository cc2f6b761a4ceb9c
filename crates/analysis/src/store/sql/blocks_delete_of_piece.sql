-- From 2^20 on, `piece` counts the blocks of one minute too.
delete from blocks
where source = $1 and layer = $2 and minute >= $3 and minute <= $4 and start = $5 and recording = $6 and piece % 1048576 = $7
