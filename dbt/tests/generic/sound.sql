{#
    All that a table must hold: a unique key, required values, an `instrument` that is one (unless that is none), and rules of its own. Each is a
    column named after what is assumed; a failing row shows which one is false.

    With `time` the test looks at the rows in the ranges that the batch changed (the candles of `minutes` minutes; with `spans`
    the spans of each symbol's series), unless the variable `check` is `all`.
#}
{% test sound(model, key, required, rules={}, time=none, minutes=1, spans=false, instrument='symbol') %}

{%- set assumed = ['required_values_are_there'] + (['symbol_is_an_instrument'] if instrument else []) + (rules | list) %}

with

{% if time and var('check') == 'changed' %}
changed as (

    {% if spans -%}
    select * from {{ ref('int_changed_spans') }}
    {%- else -%}
    {{ changed_ranges(minutes=minutes) }}
    {%- endif %}

),

looked_at as not materialized (

    select in_question.*
    from changed
    cross join lateral (
        select changed_rows.*
        from {{ model }} as changed_rows
        where
            changed_rows.symbol = changed.symbol
            and changed_rows.{{ time }} >= changed.from_candle
            and changed_rows.{{ time }} < changed.until_candle
            {% if not spans -%}
            and changed_rows.source = changed.source
            {%- endif %}
        offset 0
    ) as in_question

),
{% else %}
looked_at as not materialized (

    select * from {{ model }}

),
{% endif %}

judged as (

    select
        {{ key | join(', ') }},
        true as key_is_unique,
        num_nulls({{ (key + required) | join(', ') }}) = 0 as required_values_are_there
        {%- if instrument %},
        {{ instrument }} in (select instruments.symbol from {{ ref('instruments') }} as instruments)
            as symbol_is_an_instrument
        {%- endif %}
        {%- for name, rule in rules.items() %},
        coalesce({{ rule }}, true) as {{ name }}
        {%- endfor %}
    from looked_at

),

repeated as (

    select
        {{ key | join(', ') }},
        false as key_is_unique
        {%- for name in assumed %},
        null::boolean as {{ name }}
        {%- endfor %}
    from looked_at
    group by {{ key | join(', ') }}
    having count(*) > 1

)

select * from judged
where not ({{ assumed | join(' and ') }})
union all
select * from repeated

{% endtest %}
