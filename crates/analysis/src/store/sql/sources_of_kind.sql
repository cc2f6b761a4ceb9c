select id, kind, name, revision, sequence, longest, last_arrival, last_lag from sources where kind = $1 order by id
