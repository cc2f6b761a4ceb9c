select recording, piece, grp, plan_version, parts, start, finish, fault, layers from results
where recording in (select cast(value ->> 0 as bigint) from json_each($1))
order by recording, piece, grp
