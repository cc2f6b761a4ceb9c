-- A key's hash is SHA-256 of the key; the key itself is not stored anywhere.
CREATE TABLE api_keys (
    id      TEXT    NOT NULL PRIMARY KEY,
    hash    BLOB    NOT NULL UNIQUE,
    role    TEXT    NOT NULL CHECK (role IN ('operator', 'reader', 'sensor')),
    sensor  TEXT    NOT NULL, -- '' unless the role is sensor
    created INTEGER NOT NULL, -- µs since 1970
    revoked INTEGER           -- µs since 1970, null while the key is valid
) STRICT;
CREATE INDEX api_keys_by_sensor ON api_keys (sensor, id);
