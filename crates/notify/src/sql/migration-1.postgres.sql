-- Differs because bytes are bytea, and text is collated "C" to be compared as SQLite does.
-- Where notices go. Only the role notify reads the secret, to sign with it.
create table webhooks (
    id         text COLLATE "C" not null primary key,
    url        text COLLATE "C" not null,
    secret     bytea  not null,
    created_at bigint not null -- us since 1970
);

-- Notices, by the id of their message.
create table deliveries (
    id       text COLLATE "C" not null primary key,
    hook     text COLLATE "C" not null,
    number   bigint not null,
    test     bigint not null,
    -- Emptied at its end.
    body     bytea  not null,
    noted_at bigint not null,
    -- When it is due: not before its time, after a failure later, and while somebody is sending it when that will be over.
    next_at  bigint not null,
    attempts bigint not null,
    -- HTTP status of the last answer, and what was wrong with it or why there was none.
    status   bigint,
    problem  text COLLATE "C",
    -- When it arrived or was given up; until then it is to be sent.
    ended_at bigint,
    arrived  bigint not null
);
create index deliveries_due on deliveries (next_at) where ended_at is null;
-- What is still to be sent lies together, in its order.
create index deliveries_of_hook on deliveries (hook, ended_at, number);
create index deliveries_ended on deliveries (ended_at) where ended_at is not null;
