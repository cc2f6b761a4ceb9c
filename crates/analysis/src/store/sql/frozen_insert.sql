insert into frozen_days (source, day, frozen_at, pending) values ($1, $2, $3, 1) on conflict (source, day) do nothing
