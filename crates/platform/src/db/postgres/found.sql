-- The schema that tables are made in, the encoding, whether there is our list of migrations, and whether there is
-- anything else that does not belong to an extension.
SELECT
    current_schema()::text,
    current_setting('server_encoding'),
    EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = to_regclass(quote_ident(current_schema()) || '.schema_migrations')
            AND attname = 'owner' AND NOT attisdropped
    ),
    EXISTS (
        SELECT FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace
            AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
            AND NOT EXISTS (
                SELECT FROM pg_depend
                WHERE pg_depend.classid = 'pg_class'::regclass AND pg_depend.objid = pg_class.oid AND deptype = 'e'
            )
    )
