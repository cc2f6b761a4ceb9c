select id, name, audio from recordings where source = $1 order by start limit $2
