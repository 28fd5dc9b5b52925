{#
    Incremental strategy `replace`: the table holds what this batch says and nothing older. Cheaper than a new table every minute. One
    statement, so that what the table held can be read while the rows are made; so no unique index.
#}
{% macro get_incremental_replace_sql(arguments) -%}
    {%- set columns = arguments["dest_columns"] | map(attribute="quoted") | join(", ") -%}
    with gone as (
        delete from {{ arguments["target_relation"] }}
    )
    insert into {{ arguments["target_relation"] }} ({{ columns }})
    select {{ columns }}
    from {{ arguments["temp_relation"] }}
{%- endmacro %}
