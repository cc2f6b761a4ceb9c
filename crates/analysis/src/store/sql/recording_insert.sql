insert into recordings (name, source, start, finish, status, accepted_at, partial, plan_version, audio)
values ($1, $2, $3, $3, 0, $4, 0, 0, $5)
on conflict (name) do nothing
