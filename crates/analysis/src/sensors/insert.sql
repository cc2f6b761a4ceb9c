insert into sensors (id, name, latitude, longitude, timezone, calibration, plan, plan_version, retention, created_at, deleted_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, null)
