delete from summaries where source = $1
