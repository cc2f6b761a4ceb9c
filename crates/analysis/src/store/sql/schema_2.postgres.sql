-- Differs because bytes are bytea, and text is collated "C": see version 1.

-- What foreign groups told of their algorithms; a row never changes.
create table descriptors (
    -- x-GROUP.NAME
    name text collate "C" not null,
    version bigint not null,
    -- SHA-256 of the data.
    digest bytea not null,
    -- The message antiphon.v1.Descriptor.
    data bytea not null,
    stored_at bigint not null,
    primary key (name, version)
);
