-- Differs because each engine describes itself in tables of its own. `pk` is the place in the primary key, from 1.
select name, pk from pragma_table_info($1) order by cid
