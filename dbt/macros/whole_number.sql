{# A field of the payload as bigint; NULL when it is no whole number that fits: a nonsensical count must not stop the build. #}
{% macro whole_number(field) -%}
    ops.to_count({{ field_text(field) }})
{%- endmacro %}
