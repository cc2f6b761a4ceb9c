select url from webhooks where id = $1
