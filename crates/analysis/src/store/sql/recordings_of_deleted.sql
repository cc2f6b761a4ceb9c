-- A cross join, so that SQLite looks for the names first and not for all that a deleted source has.
select recordings.id
from recordings cross join sources
where recordings.name in (select unhex(value ->> 0) from json_each($1)) and sources.id = recordings.source and sources.kind = 3
