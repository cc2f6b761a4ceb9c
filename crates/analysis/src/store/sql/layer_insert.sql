insert into layers (kind, algorithm, version, layer) values ($1, $2, $3, $4) on conflict (kind, algorithm, version, layer) do nothing
