select id, kind, name, revision, sequence, longest, last_arrival, last_lag from sources where id = $1
