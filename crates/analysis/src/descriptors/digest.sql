select digest from descriptors where name = $1 and version = $2
