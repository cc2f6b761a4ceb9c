delete from summaries where source = $1 and layer = $2
