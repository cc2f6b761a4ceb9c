insert into webhooks (id, url, secret, created_at) values ($1, $2, $3, $4)
