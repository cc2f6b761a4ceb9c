-- Differs because SQLite has no accounts.
select case when has_database_privilege(current_user, current_database(), 'TEMPORARY') then 1::bigint else 0::bigint end
