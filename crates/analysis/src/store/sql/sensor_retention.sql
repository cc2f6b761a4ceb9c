select retention from sensors where id = $1
