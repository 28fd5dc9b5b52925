{# Since when a gap at that time is known, by the table as the last search left it; before the first search, of none. #}
{% macro known_gap_since(symbol, source, gap) -%}
    {%- if execute and is_incremental() -%}
    select min(kept.found_at) as found_at
    from {{ this }} as kept
    where
        kept.symbol = {{ symbol }}
        and kept.source = {{ source }}
        and kept.gap_start < upper({{ gap }})
        and kept.gap_end > lower({{ gap }})
    {%- else -%}
    select null::timestamptz as found_at
    {%- endif %}
{%- endmacro %}
