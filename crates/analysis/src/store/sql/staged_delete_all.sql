delete from staged_results where recording = $1
