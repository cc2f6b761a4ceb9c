insert into source_layers (source, layer) values ($1, $2) on conflict (source, layer) do nothing
