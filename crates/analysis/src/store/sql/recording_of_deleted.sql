select recordings.id from recordings join sources on sources.id = recordings.source where recordings.name = $1 and sources.kind = 3
