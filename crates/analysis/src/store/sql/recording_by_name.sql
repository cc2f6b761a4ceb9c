select recordings.id, recordings.name, sources.kind, sources.name, recordings.start, recordings.finish, recordings.status,
    recordings.accepted_at, recordings.stored_at, recordings.failed_at, recordings.reason, recordings.partial,
    recordings.plan_version, recordings.pieces, recordings.audio
from recordings join sources on sources.id = recordings.source
where recordings.name = $1 and sources.kind <> 3
