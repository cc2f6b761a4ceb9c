-- What of a table's keys can refuse a change: how many unique indexes it has, whether it refers to another table or
-- another to it, and the columns that take part.
SELECT
    (SELECT count(*) FROM pg_index WHERE indrelid = target.oid AND indisunique),
    EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND conrelid = target.oid),
    EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND confrelid = target.oid),
    coalesce((
        SELECT string_agg(DISTINCT attname::text, ' ')
        FROM pg_attribute
        WHERE attrelid = target.oid AND attnum > 0 AND (
            attnum IN (SELECT unnest(indkey) FROM pg_index WHERE indrelid = target.oid AND indisunique)
            OR attnum IN (SELECT unnest(conkey) FROM pg_constraint WHERE contype = 'f' AND conrelid = target.oid)
        )
    ), '')
FROM pg_class AS target
WHERE target.oid = to_regclass($1)
