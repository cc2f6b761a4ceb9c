select id, name, case when audio = 1 or status = 2 then 1 else 0 end from recordings where source = $1 order by start limit $2
