ALTER TABLE songs ADD COLUMN tags TEXT;  -- JSON: what the file's tags say; null for songs from before, and without tags
ALTER TABLE songs ADD COLUMN cover BLOB; -- SHA-256 of the cover
CREATE INDEX songs_by_cover ON songs (cover);

-- Pictures; songs with the same one share it.
CREATE TABLE covers (
    hash       BLOB    NOT NULL PRIMARY KEY, -- SHA-256 of the bytes
    blob       TEXT    NOT NULL,             -- where they are
    media_type TEXT    NOT NULL              -- by content
) STRICT;
