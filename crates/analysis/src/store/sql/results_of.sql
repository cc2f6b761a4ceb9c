select piece, grp, plan_version, parts, start, finish, fault, layers from results where recording = $1 order by piece, grp
