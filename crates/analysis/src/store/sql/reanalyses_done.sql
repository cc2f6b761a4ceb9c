delete from reanalyses
where exists (
        select 1 from results
        where results.recording = reanalyses.recording and results.plan_version >= reanalyses.plan_version
    )
    or not exists (
        select 1 from recordings join sources on sources.id = recordings.source
        where recordings.id = reanalyses.recording and sources.kind = 2
    )
