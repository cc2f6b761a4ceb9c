delete from results where recording = $1
