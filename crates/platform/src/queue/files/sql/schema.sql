CREATE TABLE groups (
    name TEXT NOT NULL PRIMARY KEY,
    topic TEXT NOT NULL
) WITHOUT ROWID;

-- How far a group has taken the records of a segment; without a row, not at all.
CREATE TABLE cursors (
    group_name TEXT NOT NULL,
    segment TEXT NOT NULL,
    position INTEGER NOT NULL,
    records INTEGER NOT NULL,
    done INTEGER NOT NULL,
    PRIMARY KEY (group_name, segment)
) WITHOUT ROWID;

-- Messages behind the cursor that are not settled. States: 0 waiting, 1 in flight, 2 dead, 3 dead and in flight.
-- Ids are never used twice, so that a settlement that comes late hits nothing else.
CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    group_name TEXT NOT NULL,
    segment TEXT NOT NULL,
    position INTEGER NOT NULL,
    state INTEGER NOT NULL,
    owner TEXT,
    not_before INTEGER NOT NULL,
    published INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    retries INTEGER NOT NULL,
    reason TEXT,
    died INTEGER,
    died_after INTEGER
);

CREATE INDEX deliveries_due ON deliveries (group_name, state, not_before);
CREATE INDEX deliveries_segment ON deliveries (segment);
CREATE INDEX deliveries_owner ON deliveries (owner) WHERE owner IS NOT NULL;

PRAGMA user_version = 1;
