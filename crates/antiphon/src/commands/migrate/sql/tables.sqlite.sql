-- Differs because each engine describes itself in tables of its own.
select name from sqlite_master where type = 'table' and name not like 'sqlite!_%' escape '!' order by name
