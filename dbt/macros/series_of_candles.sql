{#
    What a walk keeps with each candle, to go on from there: the function's word for it, the column's name, its type.
#}
{% macro kept_state() -%}
    {%- set wilder = var('wilder_window') -%}
    {{ return([
        ('candle_number', 'candle_number', 'integer'),
        ('ema_fast', 'ema_' ~ var('macd_fast'), 'double precision'),
        ('ema_slow', 'ema_' ~ var('macd_slow'), 'double precision'),
        ('macd_signal', 'macd_signal', 'double precision'),
        ('average_gain', 'average_gain_' ~ wilder, 'double precision'),
        ('average_loss', 'average_loss_' ~ wilder, 'double precision'),
        ('atr', 'atr_' ~ wilder, 'double precision'),
        ('smoothed_range', 'smoothed_range_' ~ wilder, 'double precision'),
        ('smoothed_plus', 'smoothed_plus_' ~ wilder, 'double precision'),
        ('smoothed_minus', 'smoothed_minus_' ~ wilder, 'double precision'),
        ('adx', 'adx_' ~ wilder, 'double precision'),
        ('session_start', 'session_start', 'timestamptz'),
        ('session_value', 'session_value', 'double precision'),
        ('session_volume', 'session_volume', 'double precision'),
        ('obv', 'obv', 'double precision'),
        ('running_high', 'running_high', 'double precision')
    ]) }}
{%- endmacro %}

{# How many candles after the first one every state is there. #}
{% macro settled_after() -%}
    {{ return([var('macd_slow') + var('macd_signal'), 2 * var('wilder_window') + 1] | max) }}
{%- endmacro %}

{#
    The candles of the changed spans (of all time on a full refresh), one of each time: the first in the order of the instrument's
    sources among those that are final, so that a source which fell silent in the middle of a candle does not hold back the
    others; without a final one the first of all. Sources without a rank do not count. Numbers as double precision.
    For ops.walk_candles.
#}
{% macro series_of_candles(candles, minutes, lookback, more) -%}
{%- set spans = is_incremental() -%}
with

{% if spans -%}
changed as materialized (

    select
        spans.symbol,
        spans.from_candle,
        spans.until_candle,
        lead(spans.from_candle) over (partition by spans.symbol order by spans.from_candle) as next_span,
        exists (
            select
            from {{ this }} as kept
            where kept.symbol = spans.symbol and kept.candle_start >= spans.until_candle
        ) as has_more
    from ({{ changed_spans(candles, minutes, lookback, more) }}) as spans

),

{% endif -%}
chosen as (

    select distinct on (symbol, span, candle_start) *
    from (
        select
            in_range.symbol,
            {{ 'changed.from_candle' if spans else "timestamptz '-infinity'" }} as span,
            {{ 'changed.until_candle' if spans else "timestamptz 'infinity'" }} as until_candle,
            {{ 'changed.next_span' if spans else 'null::timestamptz' }} as next_span,
            {{ 'changed.has_more' if spans else 'false' }} as has_more,
            in_range.candle_start,
            in_range.source,
            ranks.rank,
            in_range.is_final,
            bool_and(in_range.is_final) over (
                partition by in_range.symbol, in_range.candle_start order by ranks.rank
            ) as is_settled,
            in_range.high::double precision as high,
            in_range.low::double precision as low,
            in_range.close::double precision as close,
            in_range.volume::double precision as volume,
            {{ 'in_range.previous_close::double precision' if minutes == 1 else 'null::double precision' }} as reference_close
        from {{ rows_of_ranges(ref(candles), 'candle_start', ranges=spans, source=false) }}
        inner join {{ ref('stg_ops__instrument_source') }} as ranks
            on in_range.symbol = ranks.symbol and in_range.source = ranks.source
    ) as candidates
    order by symbol, span, candle_start, is_final desc, rank

)

select
    chosen.symbol,
    chosen.span,
    chosen.candle_start,
    2 as phase,
    chosen.until_candle,
    chosen.next_span,
    chosen.has_more,
    instruments.calendar,
    chosen.source,
    chosen.rank > 1 as is_fallback,
    chosen.is_final,
    chosen.is_settled,
    chosen.high,
    chosen.low,
    chosen.close,
    chosen.volume,
    chosen.reference_close
    {%- for name, _, type in kept_state() %},
    null::{{ type }} as {{ name }}
    {%- endfor %}
from chosen
left join {{ ref('stg_ops__instrument') }} as instruments on chosen.symbol = instruments.symbol
{% if spans -%}
union all
{{ candles_before(lookback) }}
{% endif -%}
order by symbol, span, candle_start, phase desc
{%- endmacro %}

{#
    The candles that the first one of each span looks back on: those of its windows, and the last one before its UTC day (which
    may be among them: it is told twice then). Out of the table itself: no other span changes them.
#}
{% macro candles_before(lookback) -%}
select
    changed.symbol,
    changed.from_candle as span,
    kept.candle_start,
    kept.phase,
    changed.until_candle,
    changed.next_span,
    changed.has_more,
    null as calendar,
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
        limit {{ lookback }}
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
    (select calendar from {{ ref('stg_ops__instrument') }} where symbol = $1) as calendar,
    {{ kept_columns('kept') }}
from {{ this }} as kept
where kept.symbol = $1 and kept.candle_start >= $2 and kept.candle_start < coalesce($3, 'infinity')
order by kept.candle_start
{%- endmacro %}

{% macro kept_columns(kept) -%}
    {{ kept }}.source,
    {{ kept }}.is_fallback,
    {{ kept }}.is_final,
    {{ kept }}.is_settled,
    {{ kept }}.high,
    {{ kept }}.low,
    {{ kept }}.close,
    {{ kept }}.volume,
    {{ kept }}.previous_close as reference_close
    {%- for name, column, _ in kept_state() %},
    {{ kept }}.{{ column }} as {{ name }}
    {%- endfor %}
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
    where
        not kept.is_settled
        and exists (
            select
            from {{ ref(candles) }} as candles
            inner join {{ ref('stg_ops__instrument_source') }} as ranks
                on candles.symbol = ranks.symbol and candles.source = ranks.source
            where
                candles.symbol = kept.symbol
                and candles.candle_start = kept.candle_start
                and candles.is_final
                and (not kept.is_final or ranks.rank < kept_ranks.rank)
        )
{%- endmacro %}
