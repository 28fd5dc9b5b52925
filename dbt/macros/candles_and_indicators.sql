{#
    The best candle of each time in question (in the ranges that the batch changed, or with `check: all` every one) beside the row
    of `indicators`: a final one before one that is not, then by the order of the instrument's sources. A full join: either may be
    missing.
#}
{% macro candles_and_indicators(indicators, candles, minutes) -%}
    with

    changed as (

        {{ changed_ranges(keys=['symbol'], minutes=minutes) }}

    ),

    best as (

        select distinct on (candles.symbol, candles.candle_start)
            candles.symbol,
            candles.candle_start,
            candles.source,
            candles.close::double precision as close,
            candles.is_final
        from ({{ rows_in_question(candles, 'candle_start', source=false) }}) as candles
        inner join {{ ref('stg_ops__instrument_source') }} as ranks
            on candles.symbol = ranks.symbol and candles.source = ranks.source
        order by candles.symbol asc, candles.candle_start asc, candles.is_final desc, ranks.rank asc

    )

    select
        '{{ indicators.identifier }}' as made_in,
        best.*,
        indicators.candle_start as candle_of_indicators,
        indicators.source as source_of_indicators,
        indicators.close as close_of_indicators,
        indicators.is_final as is_final_of_indicators
    from best
    full outer join ({{ rows_in_question(indicators, 'candle_start', source=false) }}) as indicators
        on best.symbol = indicators.symbol and best.candle_start = indicators.candle_start
{%- endmacro %}
