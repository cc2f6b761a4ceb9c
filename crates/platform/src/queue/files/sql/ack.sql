DELETE FROM deliveries WHERE id IN (
    SELECT held.id FROM json_each($1) AS asked JOIN deliveries AS held ON held.id = asked.value ->> 0
    WHERE held.deliveries = asked.value ->> 1
)
