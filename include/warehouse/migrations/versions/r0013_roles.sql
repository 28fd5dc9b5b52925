-- The pipeline knows when statistics are stale, and ANALYZE is for a table's owner alone. Of these two tables, and no others.
create function ops.refresh_statistics(of_table regclass) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if of_table not in ('raw.market_events'::regclass, 'ops.transform_batch'::regclass) then
        raise insufficient_privilege using message = 'the statistics of ' || of_table || ' are not for the pipeline to renew';
    end if;
    execute 'analyze ' || of_table;  -- as text a regclass is quoted
end
$$;
revoke execute on function ops.refresh_statistics(regclass) from public;
