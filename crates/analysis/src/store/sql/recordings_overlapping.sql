select recordings.id, recordings.name, sources.kind, sources.name, recordings.start, recordings.finish, recordings.status,
    recordings.accepted_at, recordings.stored_at, recordings.failed_at, recordings.reason, recordings.partial,
    recordings.plan_version, recordings.pieces, recordings.audio
from recordings join sources on sources.id = recordings.source
where recordings.source = $1 and recordings.start >= $2 and recordings.start < $3
    and (recordings.finish > $4 or recordings.start >= $4)
    and (recordings.start, recordings.name) > ($5, $6)
order by recordings.start, recordings.name
limit $7
