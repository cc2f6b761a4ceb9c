select id, kind, name, revision, sequence, longest, last_arrival, last_lag from sources
where kind = $1 and name in (select value ->> 0 from json_each($2))
order by id
