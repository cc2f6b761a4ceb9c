-- Differs because SQLite has no accounts.
select current_user::text
