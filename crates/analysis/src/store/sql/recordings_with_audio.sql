select recordings.id, recordings.name, recordings.accepted_at, sources.name, recordings.start, recordings.finish,
    coalesce(recordings.stored_at, recordings.failed_at)
from recordings join sources on sources.id = recordings.source
where recordings.audio = 1 and recordings.accepted_at < $1 and (recordings.accepted_at, recordings.id) > ($2, $3)
order by recordings.accepted_at, recordings.id
limit $4
