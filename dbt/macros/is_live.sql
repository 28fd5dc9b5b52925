{# Whether a source tells of the market: not the simulator, and no file that is replayed. #}
{% macro is_live(source) -%}
    {{ source }} not in ('simulator', 'replay')
{%- endmacro %}
