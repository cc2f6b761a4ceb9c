-- Differs because of blob, which is bytea elsewhere, and WITHOUT ROWID: see version 1.

-- What foreign groups told of their algorithms; a row never changes.
create table descriptors (
    -- x-GROUP.NAME
    name text not null,
    version bigint not null,
    -- SHA-256 of the data.
    digest blob not null,
    -- The message antiphon.v1.Descriptor.
    data blob not null,
    stored_at bigint not null,
    primary key (name, version)
) without rowid;
