{# A field of the payload as text. A list is the path to a field inside an object: field_text(['lastTrade', 'p']). #}
{% macro field_text(field) -%}
    {%- if field is string -%}
    payload ->> '{{ field | replace("'", "''") }}'
    {%- else -%}
    payload #>> array['{{ field | map("replace", "'", "''") | join("', '") }}']
    {%- endif -%}
{%- endmacro %}
