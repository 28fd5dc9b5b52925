{#
    One adjusted candle per symbol and session: of the final ones that of the source with the best rank. With `days` only of so many
    days before the newest candle of each symbol, so that what looks back on a year costs a year.
#}
{% macro daily_closes(days=none) -%}
    select distinct on (candles.symbol, candles.session_date)
        candles.symbol,
        candles.session_date,
        candles.source,
        candles.close
    from {{ ref('candles_1d_adjusted') }} as candles
    inner join {{ ref('stg_ops__instrument_source') }} as ranks
        on candles.symbol = ranks.symbol and candles.source = ranks.source
    {%- if days %}
    inner join (
        select
            instruments.symbol,
            (
                select days.candle_start
                from {{ ref('candles_1d') }} as days
                where days.symbol = instruments.symbol
                order by days.candle_start desc
                limit 1
            ) - interval '{{ days }} days' as after
        from {{ ref('instruments') }} as instruments
    ) as recent on candles.symbol = recent.symbol and candles.candle_start > recent.after
    {%- endif %}
    where candles.is_final
    order by candles.symbol asc, candles.session_date asc, ranks.rank asc
{%- endmacro %}
