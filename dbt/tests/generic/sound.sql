{#
    One query for all that a table must hold: a unique key, required values, a symbol that is an instrument, and rules of its own.
    Each is a column named after what is assumed; a failing row shows which one is false.

    With `time` the test looks at the rows that the batch changed (the candles of `minutes` minutes that they lie in; with
    `rest_of_symbol` everything after them), unless the variable `check` is `all`.
#}
{% test sound(model, key, required, rules={}, time=none, minutes=1, rest_of_symbol=false) %}

with

{% if time and var('check') == 'changed' %}
{% if rest_of_symbol %}
changed as (

    select
        symbol,
        from_candle as candle_start
    from {{ ref('int_changed_symbols') }}

),
{% else %}
changed as (

    select distinct
        source,
        symbol,
        {{ candle_of('candle_start', minutes) }} as candle_start
    from {{ ref('int_changed_minutes') }}

),
{% endif %}

looked_at as (

    select in_question.*
    from changed
    cross join lateral (
        select changed_rows.*
        from {{ model }} as changed_rows
        where
            changed_rows.symbol = changed.symbol
            and changed_rows.{{ time }} >= changed.candle_start
            {% if not rest_of_symbol -%}
            and changed_rows.{{ time }} < changed.candle_start + interval '{{ minutes }} minutes'
            and changed_rows.source = changed.source
            {%- endif %}
        offset 0
    ) as in_question

),
{% else %}
looked_at as (

    select * from {{ model }}

),
{% endif %}

judged as (

    select
        {{ key | join(', ') }},
        count(*) over (partition by {{ key | join(', ') }}) = 1 as key_is_unique,
        num_nulls({{ (key + required) | join(', ') }}) = 0 as required_values_are_there,
        exists (
            select 1 from {{ ref('instruments') }} as instruments where instruments.symbol = looked_at.symbol
        ) as symbol_is_an_instrument
        {%- for name, rule in rules.items() %},
        coalesce({{ rule }}, true) as {{ name }}
        {%- endfor %}
    from looked_at

)

select * from judged
where not (
    key_is_unique and required_values_are_there and symbol_is_an_instrument
    {%- for name in rules %} and {{ name }}{% endfor %}
)

{% endtest %}
