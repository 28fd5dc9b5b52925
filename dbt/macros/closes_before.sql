{#
    The closes that the first candle of each span looks back on: those of its windows, and the last one before its UTC day.
    Out of the table itself: no other span changes them (int_changed_spans).
#}
{% macro closes_before(lookback) %}
    select
        changed.symbol,
        changed.from_candle as span,
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
