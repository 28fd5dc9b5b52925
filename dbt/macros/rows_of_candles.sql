{#
    The rows of `relation` (those that fulfil `condition`) in the candles of the CTE `changed` (symbol, source, candle_start); all
    of them on a full refresh. The lateral with `offset 0` makes the planner look each candle up by index, so the cost
    follows what changed and not the size of the table.
#}
{% macro rows_of_candles(relation, time, minutes=1, condition='true') -%}
    {% if is_incremental() -%}
    changed
    cross join lateral (
        select changed_rows.*
        from {{ relation }} as changed_rows
        where
            {{ condition }}
            and changed_rows.symbol = changed.symbol
            and changed_rows.source = changed.source
            and changed_rows.{{ time }} >= changed.candle_start
            and changed_rows.{{ time }} < changed.candle_start + interval '{{ minutes }} minutes'
        offset 0
    ) as in_candle
    {%- else -%}
    (select * from {{ relation }} where {{ condition }}) as in_candle
    {%- endif %}
{%- endmacro %}
