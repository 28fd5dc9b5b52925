{#
    The candles of `minutes` minutes in question (in the ranges that the batch changed, or with `check: all` every one), each beside
    what the shorter ones in `parts` say of it. A full join: either may be missing.
#}
{% macro parts_and_wholes(whole, parts, minutes) -%}
    {%- set summed %}
        select
            symbol,
            source,
            {{ candle_of('candle_start', minutes) }} as candle_start,
            {{ sums_of_parts() }}
        from ({{ rows_in_question(parts, 'candle_start') }}) as parts
        group by symbol, source, {{ candle_of('candle_start', minutes) }}
    {%- endset -%}
    with

    changed as (

        {{ changed_ranges(minutes=minutes) }}

    )

    {{ beside(whole, summed) }}
{%- endmacro %}

{# The same for the days of candles_1d. #}
{% macro parts_and_days(whole, parts) -%}
    {%- set summed %}
        select
            in_range.symbol,
            in_range.source,
            changed.day_start as candle_start,
            {{ sums_of_parts('in_range.') }}
        from {{ rows_of_ranges(parts, 'candle_start', ranges=true) }}
        group by in_range.symbol, in_range.source, changed.day_start
    {%- endset -%}
    with

    touched as (

        {% if var('check') == 'changed' -%}
        select * from {{ ref('int_changed_ranges') }}
        {%- else -%}
        select
            source,
            symbol,
            min(candle_start) as from_candle,
            max(candle_start) + interval '5 minutes' as until_candle
        from {{ parts }}
        group by source, symbol
        {%- endif %}

    ),

    changed as (

        {{ days_of_ranges('touched') }}

    )

    {{ beside(whole, summed) }}
{%- endmacro %}

{% macro sums_of_parts(prefix='') -%}
    max({{ prefix }}high) as high,
    min({{ prefix }}low) as low,
    sum({{ prefix }}volume) as volume,
    sum({{ prefix }}trade_count) as trade_count
{%- endmacro %}

{% macro beside(whole, summed) -%}
    select
        '{{ whole.identifier }}' as resolution,
        coalesce(summed.symbol, candles.symbol) as symbol,
        coalesce(summed.source, candles.source) as source,
        summed.candle_start as start_of_parts,
        summed.high as high_of_parts,
        summed.low as low_of_parts,
        summed.volume as volume_of_parts,
        summed.trade_count as trade_count_of_parts,
        candles.candle_start,
        candles.open,
        candles.high,
        candles.low,
        candles.close,
        candles.volume,
        candles.trade_count
    from ({{ summed }}) as summed
    full outer join ({{ rows_in_question(whole, 'candle_start') }}) as candles
        on
            summed.symbol = candles.symbol
            and summed.source = candles.source
            and summed.candle_start = candles.candle_start
{%- endmacro %}
