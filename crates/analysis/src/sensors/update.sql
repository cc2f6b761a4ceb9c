update sensors
set name = $2, latitude = $3, longitude = $4, timezone = $5, calibration = $6, plan = $7, plan_version = $8, retention = $9,
    created_at = $10, deleted_at = $11
where id = $1
