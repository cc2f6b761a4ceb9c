insert into sources (kind, name, revision, sequence, longest)
select $1, value ->> 0, 0, 0, 0 from json_each($2) where true
on conflict (kind, name) do nothing
