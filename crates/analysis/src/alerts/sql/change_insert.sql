insert into alert_changes (alert, number, is_on, began, last, value, late, told_at, hook)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
