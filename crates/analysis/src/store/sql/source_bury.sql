update sources set kind = 3, name = name || '/' || cast(id as text) where kind = $1 and name = $2
