delete from annotations where source = $1
