-- What is known of the time that is judged, per series: when it was asked for and answered (answered), asked for in
-- vain (failed: the vendor did not answer, or not for this instrument), refused by the vendor, and which minutes have
-- rows in quarantine.
with

judged as (

    select
        source,
        symbol,
        min(part_start) as from_at,
        max(part_end) as until_at
    from {{ ref('int_judged_silences') }}
    group by source, symbol

),

hulls as (

    select
        judged.source,
        min(judged.from_at) as from_at,
        max(judged.until_at) as until_at,
        max(series.lag) as lag
    from judged
    inner join {{ ref('stg_ops__gap_series') }} as series
        on judged.source = series.source and judged.symbol = series.symbol
    group by judged.source

),

-- a vendor that is behind the market speaks of an earlier time
asked as (

    select
        hulls.source,
        asked.is_answered,
        asked.missing,
        tstzrange(asked.asked_from - hulls.lag, asked.asked_until - hulls.lag) as span
    from hulls
    inner join {{ ref('stg_ops__asked') }} as asked
        on
            hulls.source = asked.source
            and asked.asked_until > hulls.from_at + hulls.lag
            and asked.asked_from < hulls.until_at + hulls.lag

),

by_source as (

    select
        source,
        range_agg(span) filter (where is_answered) as answered,
        range_agg(span) filter (where not is_answered) as failed
    from asked
    group by source

),

not_named as (

    select
        asked.source,
        missing.symbol,
        range_agg(asked.span) as spans
    from asked
    cross join lateral jsonb_array_elements_text(asked.missing) as missing (symbol)
    where asked.is_answered and asked.missing <> '[]'
    group by asked.source, missing.symbol

),

history as (

    select
        judged.source,
        judged.symbol,
        range_agg(tstzrange(past.covered_from, past.covered_until)) filter (where past.ended <> 'refused') as answered,
        range_agg(tstzrange(past.covered_from, past.covered_until)) filter (where past.ended = 'refused') as refused
    from judged
    inner join {{ ref('stg_ops__history_coverage') }} as past
        on
            judged.source = past.source
            and judged.symbol = past.symbol
            and judged.from_at < past.covered_until
            and judged.until_at > past.covered_from
    group by judged.source, judged.symbol

),

quarantined as (

    select
        judged.source,
        judged.symbol,
        range_agg(
            tstzrange({{ candle_of('bad.event_time') }}, {{ candle_of('bad.event_time') }} + interval '1 minute')
        ) as spans
    from judged
    inner join {{ ref('stg_raw__quarantined') }} as bad
        on
            judged.source = bad.source
            and judged.symbol = bad.symbol
            and judged.from_at <= bad.event_time
            and judged.until_at > bad.event_time
    group by judged.source, judged.symbol

),

joined as (

    select
        judged.source,
        judged.symbol,
        coalesce(quarantined.spans, '{}') as quarantined,
        coalesce(history.answered, '{}') as history,
        coalesce(history.refused, '{}') as refused,
        coalesce(by_source.answered, '{}') as answered,
        coalesce(by_source.failed, '{}') as failed,
        coalesce(not_named.spans, '{}') as not_named
    from judged
    left join quarantined on judged.source = quarantined.source and judged.symbol = quarantined.symbol
    left join history on judged.source = history.source and judged.symbol = history.symbol
    left join by_source on judged.source = by_source.source
    left join not_named on judged.source = not_named.source and judged.symbol = not_named.symbol

)

select
    source,
    symbol,
    quarantined,
    refused,
    (answered - not_named) + history as answered,
    (answered - not_named) + history + refused as asked,
    ((failed - answered) + not_named) - history as failed
from joined
