{#
    Whether a row came with the loads of this batch. The runner names them, so that the planner knows how many rows they
    have; without it (dbt by hand) they are looked up.
#}
{% macro in_batch() -%}
    {%- if var('loads') is none -%}
    load_id in (select batch.load_id from {{ ref('stg_ops__transform_batch') }} as batch)
    {%- else -%}
    load_id = any('{ {{- var('loads') | map('int') | join(',') -}} }'::bigint[])
    {%- endif -%}
{%- endmacro %}
