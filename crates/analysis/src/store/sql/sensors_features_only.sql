select id from sensors where retention like '%"features_only":true%' limit 1
