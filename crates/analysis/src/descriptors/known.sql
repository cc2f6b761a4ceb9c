select name, version, digest from descriptors order by name, version
