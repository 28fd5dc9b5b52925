{#
    dbt's `create table as`; for a table that is cut by time (`meta: cut_by` in dbt_project.yml) the empty table comes first, then
    its rows: what is made of a query cannot be cut.
#}
{% macro postgres__create_table_as(temporary, relation, sql) -%}
    {%- set column = config.get('meta', {}).get('cut_by') -%}
    {%- if temporary or column is none -%}
    {{ dbt.postgres__create_table_as(temporary, relation, sql) }}
    {%- else -%}
    create temporary table shape_of_rows as (
        {{ sql }}
    ) with no data;
    {{ create_cut_table(relation, column) }}
    drop table shape_of_rows;
    insert into {{ relation }} (
        {{ sql }}
    );
    {%- endif -%}
{%- endmacro %}
