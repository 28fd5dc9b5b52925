{# The product of positive numbers over a window or a group, by their logarithms; 1 where there is none. #}
{% macro product(value, over='') -%}
    round(coalesce(exp(sum(ln({{ value }}::numeric)){{ over }}), 1), 15)
{%- endmacro %}
