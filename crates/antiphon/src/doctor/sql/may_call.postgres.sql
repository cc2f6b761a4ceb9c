-- Differs because SQLite has no accounts.
select case when has_function_privilege(current_user, to_regprocedure($1::text), 'EXECUTE') then 1::bigint else 0::bigint end
