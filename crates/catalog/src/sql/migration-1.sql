CREATE TABLE songs (
    id          BLOB    NOT NULL PRIMARY KEY, -- 20 bytes of a hash of the content
    status      TEXT    NOT NULL CHECK (status IN ('accepted', 'stored', 'failed')),
    reason      TEXT,                         -- why it failed, in words
    title       TEXT,
    artist      TEXT,
    album       TEXT,
    file_name   TEXT,                         -- as the uploader called it
    search      TEXT    NOT NULL,             -- title, artist, album and file name in lower case
    duration    INTEGER,                      -- µs, null until analysed
    size        INTEGER NOT NULL,             -- bytes
    media_type  TEXT    NOT NULL,
    blob        TEXT    NOT NULL,             -- where the file is
    accepted_at INTEGER NOT NULL,             -- µs since 1970
    stored_at   INTEGER,
    failed_at   INTEGER
) STRICT;
CREATE INDEX songs_by_time ON songs (accepted_at, id);

-- Objects that no song owns: being uploaded, or to be deleted. What stays here was left by a crash.
CREATE TABLE loose_blobs (
    blob  TEXT    NOT NULL PRIMARY KEY,
    since INTEGER NOT NULL -- µs since 1970
) STRICT;
