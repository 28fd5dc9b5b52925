{#
    Incremental strategy `rejudge`: the gaps of the times in ops.gap_scope, and those of every silence that was judged, are replaced
    by what was found.
#}
{% macro get_incremental_rejudge_sql(arguments) -%}
    {%- set columns = arguments["dest_columns"] | map(attribute="quoted") | join(", ") -%}
    delete from {{ arguments["target_relation"] }} as kept
    using ops.gap_scope as scope, ops.gap_series as series
    where
        kept.source = scope.source
        and kept.symbol = series.symbol
        and series.source = scope.source
        and series.calendar = scope.calendar
        and kept.gap_start < scope.until_at
        and kept.gap_end > scope.from_at;
    delete from {{ arguments["target_relation"] }} as kept
    using (
        select distinct source, symbol, run_start, run_end
        from intermediate.int_judged_silences
        where not is_context
    ) as judged
    where
        kept.source = judged.source
        and kept.symbol = judged.symbol
        and kept.gap_start >= judged.run_start
        and kept.gap_end <= judged.run_end;
    insert into {{ arguments["target_relation"] }} ({{ columns }})
    select {{ columns }}
    from {{ arguments["temp_relation"] }}
{%- endmacro %}
