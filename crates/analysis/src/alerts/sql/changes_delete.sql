delete from alert_changes where alert = $1
