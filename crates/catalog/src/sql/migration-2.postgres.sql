-- Differs because bytes are bytea, and text is collated "C" to give pages the order that SQLite gives them.
ALTER TABLE songs ADD COLUMN tags TEXT COLLATE "C";  -- JSON: what the file's tags say; null for songs from before, and without tags
ALTER TABLE songs ADD COLUMN cover BYTEA;            -- SHA-256 of the cover
CREATE INDEX songs_by_cover ON songs (cover);

-- Pictures; songs with the same one share it.
CREATE TABLE covers (
    hash       BYTEA            NOT NULL PRIMARY KEY, -- SHA-256 of the bytes
    blob       TEXT COLLATE "C" NOT NULL,             -- where they are
    media_type TEXT COLLATE "C" NOT NULL              -- by content
);
