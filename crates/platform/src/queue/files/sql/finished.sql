SELECT cursors.segment, groups.topic FROM cursors JOIN groups ON groups.name = cursors.group_name
WHERE cursors.done = 1 AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.segment = cursors.segment)
GROUP BY cursors.segment, groups.topic
HAVING count(*) = (SELECT count(*) FROM groups AS bound WHERE bound.topic = groups.topic)
