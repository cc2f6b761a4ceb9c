-- Differs because bytes are bytea, and text is collated "C" to give pages the order that SQLite gives them.
CREATE TABLE songs (
    id          BYTEA            NOT NULL PRIMARY KEY, -- 20 bytes of a hash of the content
    status      TEXT COLLATE "C" NOT NULL CHECK (status IN ('accepted', 'stored', 'failed')),
    reason      TEXT COLLATE "C",                      -- why it failed, in words
    title       TEXT COLLATE "C",
    artist      TEXT COLLATE "C",
    album       TEXT COLLATE "C",
    file_name   TEXT COLLATE "C",                      -- as the uploader called it
    search      TEXT COLLATE "C" NOT NULL,             -- title, artist, album and file name in lower case
    duration    BIGINT,                                -- µs, null until analysed
    size        BIGINT           NOT NULL,             -- bytes
    media_type  TEXT COLLATE "C" NOT NULL,
    blob        TEXT COLLATE "C" NOT NULL,             -- where the file is
    accepted_at BIGINT           NOT NULL,             -- µs since 1970
    stored_at   BIGINT,
    failed_at   BIGINT
);
CREATE INDEX songs_by_time ON songs (accepted_at, id);

-- Objects that no song owns: being uploaded, or to be deleted. What stays here was left by a crash.
CREATE TABLE loose_blobs (
    blob  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    since BIGINT           NOT NULL -- µs since 1970
);
