select count(*)
from recordings join sources on sources.id = recordings.source
where recordings.start = 0 and recordings.plan_version = $1 and recordings.status <> 0 and sources.kind = 2
