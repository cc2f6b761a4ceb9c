delete from staged_results
where recording in (select id from recordings where source = $1 order by start limit $2)
