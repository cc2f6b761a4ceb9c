insert into deliveries (id, hook, number, test, body, noted_at, next_at, attempts, arrived)
select $1, $2, $3, $4, $5, $6, $7, 0, 0
where exists (select 1 from webhooks where id = $2)
on conflict (id) do nothing
