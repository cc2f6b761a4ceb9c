select version, plan from song_plans order by version
