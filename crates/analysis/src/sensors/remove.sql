delete from sensors
where id = $1
