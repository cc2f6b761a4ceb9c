-- Whether this is a standby, and how many microseconds it is behind: none when it has replayed all that it received
-- and is connected, for then only the age of the newest transaction would be told.
SELECT
    pg_is_in_recovery(),
    CASE
        WHEN NOT pg_is_in_recovery() THEN NULL
        WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()
            AND EXISTS (SELECT FROM pg_stat_wal_receiver WHERE pid IS NOT NULL) THEN 0
        ELSE (extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000000)::bigint
    END
