{#
    The accepted rows of `relation` with a key (symbol, event_time, source) of the CTE `changed`; all accepted rows on a full
    refresh. Each key is looked up by index, so the cost follows what changed and not the size of the table.
#}
{% macro rows_of_keys(relation) -%}
    {% if is_incremental() -%}
    changed
    cross join lateral (
        select changed_rows.*
        from {{ relation }} as changed_rows
        where
            changed_rows.is_accepted
            and changed_rows.symbol = changed.symbol
            and changed_rows.event_time = changed.event_time
            and changed_rows.source = changed.source
        offset 0
    ) as in_key
    {%- else -%}
    (select * from {{ relation }} where is_accepted) as in_key
    {%- endif %}
{%- endmacro %}
