select id, retention from sensors where id in (select value ->> 0 from json_each($1))
