"""What is supposed of a table until Postgres has looked at it for the first time.

Of a table that was never analysed Postgres supposes that a store has a two-hundredth of its rows. While it is small,
any index that begins with the store then seems as good as the key's, and a plan that is made now is kept: what is
looked up by key is found among all rows of the store until the table is analysed
(docs/adr/0046-plans-from-the-start.md).

This text is part of all migrations that use it; change what it does by a new migration only.
"""

SUPPOSED = """
    do $$
    begin
        -- https://www.postgresql.org/docs/18/functions-admin.html#FUNCTIONS-ADMIN-STATSMOD
        if current_setting('server_version_num')::integer >= 180000 then
            perform pg_restore_attribute_stats(
                        'schemaname', n.nspname::text, 'relname', c.relname::text, 'attname', a.attname::text,
                        'inherited', false, 'avg_width', 8, 'null_frac', guess.nulls, 'n_distinct', guess.different)
               from (values ('store_id', 0::real, 1::real), ('ended_at', 1, 0)) as guess (attname, nulls, different)
               join pg_attribute a using (attname)
               join pg_class c on c.oid = a.attrelid and c.relkind = 'r' and not c.relispartition
               join pg_namespace n on n.oid = c.relnamespace and n.nspname = current_schema()
              where c.reltuples < 0;  -- never analysed
        end if;
    end $$
"""
"""All rows may be one store's, and all runs under way: so a key finds less than either, however small the table is."""
