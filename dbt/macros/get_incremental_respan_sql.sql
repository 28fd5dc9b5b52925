{#
    Incremental strategy `respan`: what lies in the spans of ops.gap_spans is replaced by what was found in them. A span begins and
    ends with a candle, so whatever began in it ended in it.
#}
{% macro get_incremental_respan_sql(arguments) -%}
    {%- set columns = arguments["dest_columns"] | map(attribute="quoted") | join(", ") -%}
    delete from {{ arguments["target_relation"] }} as kept
    using ops.gap_spans as spans
    where
        kept.source = spans.source
        and kept.symbol = spans.symbol
        and kept.run_end > spans.from_at
        and kept.run_start <= spans.until_at;
    insert into {{ arguments["target_relation"] }} ({{ columns }})
    select {{ columns }}
    from {{ arguments["temp_relation"] }}
{%- endmacro %}
