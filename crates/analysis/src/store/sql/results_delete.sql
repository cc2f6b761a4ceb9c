delete from results where recording in (select cast(value ->> 0 as bigint) from json_each($1))
