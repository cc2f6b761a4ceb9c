insert into source_layers (source, layer)
select cast(value ->> 0 as bigint), cast(value ->> 1 as bigint) from json_each($1) where true
on conflict (source, layer) do nothing
