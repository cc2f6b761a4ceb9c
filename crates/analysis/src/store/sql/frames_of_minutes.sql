select blocks.minute, recordings.start, recordings.name, blocks.data
from blocks join recordings on recordings.id = blocks.recording
where blocks.source = $1 and blocks.layer = $2 and blocks.minute >= $3 and blocks.minute <= $4
order by blocks.minute, recordings.start, recordings.name, blocks.piece
