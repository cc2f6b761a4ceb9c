delete from staged_results where recording = $1 and piece = $2 and grp = $3 and plan_version <= $4
