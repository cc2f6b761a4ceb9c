insert into recordings (name, source, start, finish, status, accepted_at, partial, plan_version)
values ($1, $2, $3, $3, 0, $4, 0, 0)
on conflict (name) do nothing
