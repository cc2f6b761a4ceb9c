-- What is to be published, in the order of `number`.
CREATE TABLE outbox (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    -- The topic, or with `queue_group` the one group of it that is to get the message.
    topic       TEXT NOT NULL,
    queue_group TEXT,
    message_id  TEXT NOT NULL,
    kind        TEXT NOT NULL,
    source      TEXT NOT NULL,
    time        BIGINT NOT NULL,
    trace       TEXT NOT NULL,
    body        BLOB NOT NULL
);

-- Who runs a job and until when, and when it was last begun and ended.
CREATE TABLE jobs (
    name         TEXT NOT NULL PRIMARY KEY,
    owner        TEXT,
    lease_until  BIGINT NOT NULL,
    tried_at     BIGINT NOT NULL,
    finished_at  BIGINT
);
