-- Differs because each engine describes itself in tables of its own.
select table_name::text, column_name::text from information_schema.columns
where table_schema = current_schema() and is_identity = 'YES' order by table_name
