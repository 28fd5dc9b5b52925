{#
    The rows of `relation` (those that fulfil `condition`) in the ranges of the CTE `changed` (symbol, from_candle,
    until_candle, and source unless that is false); all of them where `ranges` is false, as on a full refresh. The lateral
    with `offset 0` makes the planner read each range by one scan of an index, so the cost follows what changed and not
    the size of the table.
#}
{% macro rows_of_ranges(relation, time, condition='true', ranges=is_incremental(), source=true) -%}
    {% if ranges -%}
    changed
    cross join lateral (
        select changed_rows.*
        from {{ relation }} as changed_rows
        where
            {{ condition }}
            and changed_rows.symbol = changed.symbol
            {% if source -%}
            and changed_rows.source = changed.source
            {% endif -%}
            and changed_rows.{{ time }} >= changed.from_candle
            and changed_rows.{{ time }} < changed.until_candle
        offset 0
    ) as in_range
    {%- else -%}
    (select * from {{ relation }} where {{ condition }}) as in_range
    {%- endif %}
{%- endmacro %}
