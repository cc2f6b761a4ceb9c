SELECT name, topic FROM groups ORDER BY name
