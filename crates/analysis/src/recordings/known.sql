select recordings.name
from recordings join sources on sources.id = recordings.source
where sources.kind <> 3
    and recordings.name in ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
