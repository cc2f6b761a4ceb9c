insert into sources (kind, name, revision, sequence, longest) values ($1, $2, 0, 0, 0) on conflict (kind, name) do nothing
