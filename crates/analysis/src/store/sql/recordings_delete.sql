delete from recordings where id in (select cast(value ->> 0 as bigint) from json_each($1))
