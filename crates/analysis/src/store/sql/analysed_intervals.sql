select recordings.start, recordings.name, recordings.id, results.start, results.finish
from recordings join results on results.recording = recordings.id
where recordings.source = $1 and recordings.start >= $2 and recordings.start < $3 and results.finish > $4
    and results.finish > results.start
order by recordings.start, recordings.name, results.start
