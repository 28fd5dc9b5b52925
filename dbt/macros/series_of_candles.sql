{#
    The candles of the changed spans (of all time on a full refresh), one of each time: the first in the order of the instrument's
    sources among those that are final, so that a source which fell silent in the middle of a candle does not hold back the
    others; without a final one the first of all. Sources without a rank do not count. Numbers as double precision.
    For ops.walk_candles.
#}
{% macro series_of_candles(candles, minutes, lookback, near, more) -%}
{%- set spans = is_incremental() -%}
with

{% if spans -%}
changed as materialized (

    select
        spans.symbol,
        instruments.calendar,
        spans.from_candle,
        spans.until_candle,
        lead(spans.from_candle) over (partition by spans.symbol order by spans.from_candle) as next_span,
        exists (
            select
            from {{ this }} as kept
            where kept.symbol = spans.symbol and kept.candle_start >= spans.until_candle
        ) as has_more,
        -- the newest candles: what a minute changes
        spans.until_candle - spans.from_candle <= interval '{{ 3 * minutes }} minutes' as is_brief
    from ({{ changed_spans(candles, minutes, lookback, more) }}) as spans
    left join {{ ref('stg_ops__instrument') }} as instruments on spans.symbol = instruments.symbol

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
            {{ 'changed.is_brief and not changed.has_more' if spans else 'false' }} as is_short,
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
    chosen.is_short,
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
{{ candles_before(lookback, near) }}
{% endif -%}
order by symbol, span, candle_start, phase desc
{%- endmacro %}
