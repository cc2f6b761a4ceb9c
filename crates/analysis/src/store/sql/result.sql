select plan_version, parts, start, finish, fault, layers from results where recording = $1 and piece = $2 and grp = $3
