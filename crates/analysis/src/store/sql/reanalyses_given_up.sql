delete from reanalyses
where queued_at < $1
    or exists (
        select 1 from dead_letters where dead_letters.grp = $2 and dead_letters.message_id = reanalyses.message
    )
