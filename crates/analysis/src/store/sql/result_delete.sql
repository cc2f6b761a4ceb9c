delete from results where recording = $1 and piece = $2 and grp = $3
