insert into spans (source, start, finish) values ($1, $2, $3)
