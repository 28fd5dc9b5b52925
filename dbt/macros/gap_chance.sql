{# The logarithm of how often a minute is quiet, out of counts around it; never 0 and never 1, however few there are. #}
{% macro log_rate(quiet, minutes) -%}
    ln((greatest({{ quiet }}, 0) + 1)::double precision / (greatest({{ minutes }}, 0) + 2))
{%- endmacro %}

{# The logarithm of the chance that so many minutes in a row are quiet. #}
{% macro log_chance(run, quiet, minutes) -%}
    {{ run }} * {{ log_rate(quiet, minutes) }}
{%- endmacro %}

{# What a chance must be below for a silence to be no chance. #}
{% macro log_of_gap_chance() -%}
    ln({{ var('gap_chance') }}::double precision)
{%- endmacro %}
