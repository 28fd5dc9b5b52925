{# When a date begins where the exchange is, as a time: no exchange trades then, so a split lies between two days of trading. #}
{% macro exchange_midnight(date, calendar) -%}
    (({{ date }})::timestamp at time zone case {{ calendar }} when 'XNYS' then 'America/New_York' else 'UTC' end)
{%- endmacro %}
