-- Differs because SQLite has no accounts.
select case when has_table_privilege(current_user, to_regclass($1::text), $2::text) then 1::bigint else 0::bigint end
