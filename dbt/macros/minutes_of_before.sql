{#
    The changed minutes that an older version left in a table of their own, where one of its builds died just before the
    upgrade; None where there is no such table. (Today they are a view.)
#}
{% macro minutes_of_before() -%}
    {%- if execute and not should_full_refresh() and not is_incremental() -%}
    {%- set before = adapter.get_relation(this.database, 'intermediate', 'int_changed_minutes') -%}
    {{ return(before if before and before.is_table else none) }}
    {%- endif -%}
    {{ return(none) }}
{%- endmacro %}
