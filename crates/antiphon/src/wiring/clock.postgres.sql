-- Differs because SQLite has no clock of its own: it reads this machine's.
select cast(extract(epoch from clock_timestamp()) * 1000000 as bigint)
