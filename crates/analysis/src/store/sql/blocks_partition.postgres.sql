-- Differs because SQLite has no partitions: there `blocks` is one table.
select make_blocks_partition($1)
