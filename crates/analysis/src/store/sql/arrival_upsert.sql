insert into arrivals (source, minute, lag) values ($1, $2, $3)
on conflict (source, minute) do update
    set lag = case when excluded.lag < arrivals.lag then excluded.lag else arrivals.lag end
