{#
    The rows of `relation` that a test looks at: those in the ranges of the CTE `changed`, or with `check: all` every one.
    Before it, `with changed as ({{ changed_ranges(...) }})`.
#}
{% macro rows_in_question(relation, time, source=true) -%}
    select in_range.*
    from {{ rows_of_ranges(relation, time, ranges=(var('check') == 'changed'), source=source) }}
{%- endmacro %}
