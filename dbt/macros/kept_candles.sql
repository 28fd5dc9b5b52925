{#
    The candles that the first one of each span looks back on: those of its windows, and the last one before its UTC day (which
    may be among them: it is told twice then). Of a short span only the `near` ones. Out of the table itself: no other span changes them.
#}
{% macro candles_before(lookback, near) -%}
select
    changed.symbol,
    changed.from_candle as span,
    kept.candle_start,
    kept.phase,
    changed.until_candle,
    changed.next_span,
    changed.has_more,
    changed.is_brief and not changed.has_more as is_short,
    changed.calendar,
    {{ kept_columns('kept') }}
from changed
cross join lateral (
    (
        select
            case when row_number() over (order by indicators.candle_start desc) = 1 then 1 else 0 end as phase,
            indicators.*
        from {{ this }} as indicators
        where indicators.symbol = changed.symbol and indicators.candle_start < changed.from_candle
        order by indicators.candle_start desc
        limit case when changed.is_brief and not changed.has_more then {{ near }} else {{ lookback }} end
    )
    union all
    (
        select
            0 as phase,
            indicators.*
        from {{ this }} as indicators
        where
            indicators.symbol = changed.symbol
            and indicators.candle_start < {{ utc_day('changed.from_candle') }}
        order by indicators.candle_start desc
        limit 1
    )
) as kept
{%- endmacro %}

{# The candles that are kept of one symbol ($1) from one time on ($2) and before another ($3). #}
{% macro candles_behind() -%}
select
    kept.symbol,
    null::timestamptz as span,
    kept.candle_start,
    3 as phase,
    null::timestamptz as until_candle,
    null::timestamptz as next_span,
    false as has_more,
    false as is_short,
    (select calendar from {{ ref('stg_ops__instrument') }} where symbol = $1) as calendar,
    {{ kept_columns('kept') }}
from {{ this }} as kept
where kept.symbol = $1 and kept.candle_start >= $2 and kept.candle_start < coalesce($3, 'infinity')
order by kept.candle_start
{%- endmacro %}

{#
    Kept candles that are another one now: one of a better source, or one at all, has become final meanwhile, without a minute of it
    having changed.
#}
{% macro candles_settled_now(candles, minutes) -%}
    select
        kept.symbol,
        kept.candle_start as from_candle,
        kept.candle_start + interval '{{ minutes }} minutes' as until_candle
    from {{ this }} as kept
    inner join {{ ref('stg_ops__instrument_source') }} as kept_ranks
        on kept.symbol = kept_ranks.symbol and kept.source = kept_ranks.source
    inner join {{ ref('stg_ops__instrument_source') }} as ranks
        on kept.symbol = ranks.symbol and (not kept.is_final or ranks.rank < kept_ranks.rank)
    inner join {{ ref('stg_ops__watermark') }} as watermarks
        on ranks.source = watermarks.source and kept.candle_start < watermarks.complete_until
    cross join lateral (
        select candles.is_final
        from {{ ref(candles) }} as candles
        where
            candles.symbol = kept.symbol
            and candles.candle_start = kept.candle_start
            and candles.source = ranks.source
        offset 0
    ) as now_final
    where not kept.is_settled and now_final.is_final
{%- endmacro %}
