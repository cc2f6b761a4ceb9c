delete from stale where source = $1
