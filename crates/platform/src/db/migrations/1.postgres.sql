-- Differs because of the types of numbers and bytes. Texts are compared by their bytes, as SQLite does.

-- What is to be published, in the order of `number`.
CREATE TABLE outbox (
    number      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The topic, or with `queue_group` the one group of it that is to get the message.
    topic       TEXT COLLATE "C" NOT NULL,
    queue_group TEXT COLLATE "C",
    message_id  TEXT COLLATE "C" NOT NULL,
    kind        TEXT COLLATE "C" NOT NULL,
    source      TEXT COLLATE "C" NOT NULL,
    time        BIGINT NOT NULL,
    trace       TEXT COLLATE "C" NOT NULL,
    body        BYTEA NOT NULL
);

-- Who runs a job and until when, and when it was last begun and ended.
CREATE TABLE jobs (
    name         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    owner        TEXT COLLATE "C",
    lease_until  BIGINT NOT NULL,
    tried_at     BIGINT NOT NULL,
    finished_at  BIGINT
);
