delete from source_layers where source = $1
