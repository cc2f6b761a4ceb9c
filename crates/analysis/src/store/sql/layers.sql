select id, kind, algorithm, version, layer from layers
