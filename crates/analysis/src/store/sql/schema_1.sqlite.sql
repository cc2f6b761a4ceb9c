-- Times are microseconds since 1970 (songs: since the start), ids of recordings and songs their 20 bytes.
-- Differs because of WITHOUT ROWID: SQLite then keeps a table in the order of its key, as PostgreSQL
-- does with CLUSTER; the shared text would double every key.

create table sensors (
    id text not null primary key,
    name text,
    latitude double precision,
    longitude double precision,
    timezone text,
    -- dB re 20 uPa of a digital mean square of 1; null: not calibrated.
    calibration double precision,
    -- JSON; the version is raised by every change of plan or calibration, and outlives deletion.
    plan text not null,
    plan_version bigint not null,
    -- JSON of store::retention::Retention.
    retention text not null,
    created_at bigint not null,
    -- Null while the sensor exists; its data stays readable either way.
    deleted_at bigint
);

-- What recordings belong to: a sensor or a song. Made with the first recording.
create table sources (
    id integer not null primary key,
    -- 1 sensor, 2 song, 3 deleted with its data: rows that are left are being removed.
    kind bigint not null,
    -- The sensor's id, the song's id in its text form.
    name text not null,
    -- Sum modulo 2^64 of what is stored, as the same bits.
    revision bigint not null,
    -- Number of the newest live event.
    sequence bigint not null,
    -- The longest recording and annotation so far: bounds the search for what overlaps a range.
    longest bigint not null,
    -- When the newest message arrived, and how long after the end of its audio.
    last_arrival bigint,
    last_lag bigint,
    unique (kind, name)
);

-- Small numbers for (algorithm, version, layer). Kind 1: layer of partials, cells, frames; 2: type of
-- annotations; 3: summary.
create table layers (
    id integer not null primary key,
    kind bigint not null,
    algorithm text not null,
    version bigint not null,
    layer text not null,
    unique (kind, algorithm, version, layer)
);

-- Which layers a source has ever had.
create table source_layers (
    source bigint not null,
    layer bigint not null,
    primary key (source, layer)
) without rowid;

create table recordings (
    id integer not null primary key,
    -- The 20 bytes.
    name blob not null unique,
    source bigint not null,
    -- [start, finish) is what was analysed so far; finish is the start while nothing is.
    start bigint not null,
    finish bigint not null,
    -- 0 accepted, 1 stored, 2 failed.
    status bigint not null,
    accepted_at bigint not null,
    stored_at bigint,
    failed_at bigint,
    reason text,
    -- 1: failed, and what decoded before the fault is kept.
    partial bigint not null,
    plan_version bigint not null,
    -- Number of pieces, once the last one is known.
    pieces bigint,
    -- 1: its audio is kept.
    audio bigint not null
);
create index recordings_by_start on recordings (source, start);
create index recordings_with_audio on recordings (accepted_at) where audio = 1;

-- What each group found in each piece: the proof that a result was applied.
create table results (
    recording bigint not null,
    piece bigint not null,
    grp text not null,
    plan_version bigint not null,
    parts bigint not null,
    start bigint not null,
    finish bigint not null,
    -- 1: the audio broke off.
    fault bigint not null,
    -- The layers it holds, two bytes each.
    layers blob not null,
    primary key (recording, piece, grp)
) without rowid;

-- Parts of results whose other parts are still on their way, as they came.
create table staged_results (
    recording bigint not null,
    piece bigint not null,
    grp text not null,
    plan_version bigint not null,
    part bigint not null,
    -- How many parts there are, in the last one; else 0.
    parts bigint not null,
    arrived_at bigint not null,
    data blob not null,
    primary key (recording, piece, grp, plan_version, part)
) without rowid;

-- Partials, frames and previews of one recording within one minute of the epoch (songs: of the song).
create table blocks (
    source bigint not null,
    layer bigint not null,
    minute bigint not null,
    start bigint not null,
    recording bigint not null,
    piece bigint not null,
    data blob not null,
    primary key (source, layer, minute, start, recording, piece)
) without rowid;

-- Cells of 60, 600, 3600 and 86400 s. A cell that is not here and not stale has no data.
create table cells (
    source bigint not null,
    layer bigint not null,
    resolution bigint not null,
    time bigint not null,
    data blob not null,
    primary key (source, layer, resolution, time)
) without rowid;

-- Cells to be made again, of all layers of the source. The mark tells whether it changed once more meanwhile.
create table stale (
    source bigint not null,
    resolution bigint not null,
    time bigint not null,
    mark bigint not null,
    due bigint not null,
    primary key (source, resolution, time)
) without rowid;
create index stale_by_due on stale (resolution, due);

-- What was heard: disjoint intervals more than 20,000 us apart.
create table spans (
    source bigint not null,
    start bigint not null,
    finish bigint not null,
    primary key (source, start)
) without rowid;

create table annotations (
    source bigint not null,
    start bigint not null,
    recording bigint not null,
    layer bigint not null,
    piece bigint not null,
    number bigint not null,
    finish bigint not null,
    label text not null,
    value double precision,
    confidence double precision,
    open_start bigint not null,
    open_end bigint not null,
    primary key (source, start, recording, layer, piece, number)
) without rowid;

create table summaries (
    source bigint not null,
    layer bigint not null,
    number double precision,
    text text,
    reason text,
    primary key (source, layer)
) without rowid;

-- Seconds [first, last] that changed, in commit order; `sequence` is the event of the last one, and each
-- second before it has the number before.
create table changes (
    source bigint not null,
    sequence bigint not null,
    first bigint not null,
    last bigint not null,
    at bigint not null,
    primary key (source, sequence)
) without rowid;
create index changes_by_at on changes (at);

-- The smallest delay from the end of the audio to its arrival, per minute of arrival.
create table arrivals (
    source bigint not null,
    minute bigint not null,
    lag bigint not null,
    primary key (source, minute)
) without rowid;

-- UTC days whose cells are final and whose partials are gone.
create table frozen_days (
    source bigint not null,
    day bigint not null,
    frozen_at bigint not null,
    -- 1: the partials are still to be removed.
    pending bigint not null,
    primary key (source, day)
) without rowid;

-- When something was last stored in a day.
create table stored_days (
    source bigint not null,
    day bigint not null,
    last_stored_at bigint not null,
    primary key (source, day)
) without rowid;

create table dead_letters (
    id text not null primary key,
    grp text not null,
    message_id text not null,
    kind text not null,
    source text not null,
    time bigint not null,
    trace text not null,
    body blob not null,
    reason text not null,
    died_at bigint not null,
    deliveries bigint not null
);
create index dead_letters_by_death on dead_letters (died_at);
