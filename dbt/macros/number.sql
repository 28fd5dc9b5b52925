{# A field of the payload as numeric; NULL when it is no finite number. Without trailing zeros, so equal numbers are equal texts. #}
{% macro number(field) -%}
    trim_scale(ops.to_number({{ field_text(field) }}))
{%- endmacro %}
