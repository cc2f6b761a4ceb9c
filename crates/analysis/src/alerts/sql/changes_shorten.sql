delete from alert_changes
where number <= (select a.number from alerts a where a.id = alert_changes.alert) - $1
