{# A field of the payload as bigint; NULL when it is no whole number that fits: a nonsensical count must not stop the build. #}
{% macro whole_number(field) -%}
    case
        when {{ number(field) }} between 0 and 9223372036854775807 and scale({{ number(field) }}) = 0
            then {{ number(field) }}::bigint
    end
{%- endmacro %}
