select source, time, mark from stale where resolution = $1 and due <= $2 order by due limit $3
