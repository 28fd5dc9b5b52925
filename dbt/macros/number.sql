{#
    A field of the payload as numeric; NULL when it is no finite number. Without trailing zeros, so equal numbers are equal texts.
    A list is the path to a field inside an object: number(['lastTrade', 'p']).
#}
{% macro number(field) -%}
    trim_scale(ops.to_number(
        {%- if field is string %}payload ->> '{{ field | replace("'", "''") }}'
        {%- else %}payload #>> array['{{ field | map("replace", "'", "''") | join("', '") }}']
        {%- endif %}))
{%- endmacro %}
