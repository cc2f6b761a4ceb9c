-- A key's hash is SHA-256 of the key; the key itself is not stored anywhere.
-- Differs because bytes are bytea, and text is collated "C" to give pages the order that SQLite gives them.
CREATE TABLE api_keys (
    id      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    hash    BYTEA            NOT NULL UNIQUE,
    role    TEXT COLLATE "C" NOT NULL CHECK (role IN ('operator', 'reader', 'sensor')),
    sensor  TEXT COLLATE "C" NOT NULL, -- '' unless the role is sensor
    created BIGINT           NOT NULL, -- µs since 1970
    revoked BIGINT                     -- µs since 1970, null while the key is valid
);
CREATE INDEX api_keys_by_sensor ON api_keys (sensor, id);
