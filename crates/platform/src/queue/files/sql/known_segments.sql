SELECT cursors.segment, groups.topic FROM cursors JOIN groups ON groups.name = cursors.group_name
UNION
SELECT deliveries.segment, groups.topic FROM deliveries JOIN groups ON groups.name = deliveries.group_name
