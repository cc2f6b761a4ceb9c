-- What songs were and are analysed by: the recording of a song names a row as its plan version. A row never changes.
-- Version 1 has none: what it stands for is in the program, for it is older than this table.
create table song_plans (
    version bigint not null primary key,
    -- When it was first asked for, us since 1970.
    since bigint not null,
    -- JSON: each algorithm with its version, outputs and parameters, and whether frames are kept.
    plan text not null
);

-- Songs that were queued to be analysed again and whose new results are not there yet: a few at a time.
create table reanalyses (
    -- The song's recording.
    recording bigint not null primary key,
    plan_version bigint not null,
    queued_at bigint not null,
    -- The id of the message, by which a dead letter is found.
    message text not null
);

-- Songs by what they were analysed by; they begin at 0, which no recording of a sensor does.
create index songs_by_plan on recordings (plan_version, id) where start = 0;
