select d.id, d.body, d.attempts, d.test, d.noted_at, d.next_at, w.url, w.secret
from deliveries d join webhooks w on w.id = d.hook
where d.ended_at is null and d.next_at <= $1 and (d.test = 1 or not exists (
    select 1 from deliveries e where e.hook = d.hook and e.ended_at is null and e.test = 0 and e.number < d.number
))
order by d.next_at, d.id
limit $2
