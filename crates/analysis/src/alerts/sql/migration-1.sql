-- Thresholds on the seconds of sensors, and where each stands.
create table alerts (
    id         text   not null primary key,
    sensor     text   not null,
    -- JSON: what people set.
    definition text   not null,
    -- The web hook that is told, if there is one.
    hook       text,
    enabled    bigint not null,
    created_at bigint not null,
    -- Raised when people change it: what was found by an older definition is not told.
    version    bigint not null,
    is_on      bigint not null,
    -- Seconds of the epoch before this one are decided.
    floor      bigint not null,
    -- Seconds before this one have been looked at.
    position   bigint not null,
    -- The number of the source's last event that was looked at.
    seen       bigint not null,
    -- The number of its last change; 0 before the first.
    number     bigint not null
);
create index alerts_of_sensor on alerts (sensor, id);

-- Every change of state, for ever numbered from 1; never changed, dropped after its time.
create table alert_changes (
    alert   text   not null,
    number  bigint not null,
    is_on   bigint not null,
    -- First and last second of the epoch of those that led to it, and the value of the last.
    began   bigint not null,
    last    bigint not null,
    value   double precision not null,
    -- Whether it came from audio older than what had been looked at.
    late    bigint not null,
    told_at bigint not null,
    -- The web hook that was told, if there was one.
    hook    text,
    primary key (alert, number)
);
create index alert_changes_by_time on alert_changes (told_at);
