{#
    The closes that the first changed candle of each symbol looks back on: those of its windows, and the last one before its UTC
    day. Out of the table itself: what is before the first change is as it was.
#}
{% macro closes_before(lookback) %}
    select
        changed.symbol,
        kept.candle_start,
        kept.close
    from changed
    cross join lateral (
        (
            select
                indicators.candle_start,
                indicators.close
            from {{ this }} as indicators
            where indicators.symbol = changed.symbol and indicators.candle_start < changed.from_candle
            order by indicators.candle_start desc
            limit {{ lookback }}
        )
        union
        (
            select
                indicators.candle_start,
                indicators.close
            from {{ this }} as indicators
            where
                indicators.symbol = changed.symbol
                and indicators.candle_start < {{ utc_day('changed.from_candle') }}
            order by indicators.candle_start desc
            limit 1
        )
    ) as kept
{% endmacro %}
