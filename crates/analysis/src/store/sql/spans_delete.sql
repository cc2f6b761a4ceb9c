delete from spans
where (source, start) in (select cast(value ->> 0 as bigint), cast(value ->> 1 as bigint) from json_each($1))
