select hook, max(number) from deliveries group by hook having max(number) > $1
