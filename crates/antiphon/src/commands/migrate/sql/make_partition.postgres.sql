-- Differs because SQLite has no partitions.
select make_blocks_partition($1)
