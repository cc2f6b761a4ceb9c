delete from alert_changes where told_at < $1
