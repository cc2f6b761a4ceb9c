select recordings.id, recordings.name
from recordings join sources on sources.id = recordings.source
where recordings.start = 0 and recordings.plan_version = $1 and recordings.status <> 0 and sources.kind = 2
order by recordings.id limit $2
