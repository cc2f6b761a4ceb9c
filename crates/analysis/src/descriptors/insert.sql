insert into descriptors (name, version, digest, data, stored_at) values ($1, $2, $3, $4, $5)
