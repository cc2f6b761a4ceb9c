select id from sources where kind = 3 order by id
