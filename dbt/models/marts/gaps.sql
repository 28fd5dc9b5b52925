{{
    config(
        materialized='incremental',
        incremental_strategy='rejudge',
        on_schema_change='fail',
        full_refresh=false,
        tags=['on_demand'],
        indexes=[
            {'columns': ['symbol', 'source', 'gap_start'], 'unique': true},
            {'columns': ['gap_end']},
        ]
    )
}}

with

pieces as (

    select * from {{ ref('int_silent_pieces') }}
    where not is_context

),

evidence as (

    select * from {{ ref('int_evidence') }}

),

series as (

    select * from {{ ref('stg_ops__gap_series') }}

),

-- by the rate of the series itself, or because its source was silent as a whole
beyond_chance as (

    select
        source,
        symbol,
        run_start as span_start,
        run_end as span_end
    from {{ ref('int_silent_runs') }}
    where minutes * log_rate < {{ log_of_gap_chance() }}

    union all

    select
        series.source,
        series.symbol,
        together.silence_start,
        together.silence_end
    from {{ ref('int_source_silences') }} as together
    inner join series
        on together.source = series.source and together.calendar = series.calendar

),

silent as (

    select
        pieces.source,
        pieces.symbol,
        pieces.calendar,
        pieces.session_date,
        case
            when pieces.reason = 'unasked' and series.asked_from <= pieces.piece_start then 'never_fetched'
            when pieces.reason = 'unasked' then 'unknown'
            when evidence.refused && tstzrange(pieces.piece_start, pieces.piece_end) then 'unknown'
            else 'outage'
        end as reason,
        greatest(pieces.piece_start, beyond_chance.span_start) as gap_start,
        least(pieces.piece_end, beyond_chance.span_end) as gap_end
    from pieces
    inner join beyond_chance
        on
            pieces.source = beyond_chance.source
            and pieces.symbol = beyond_chance.symbol
            and pieces.piece_start < beyond_chance.span_end
            and pieces.piece_end > beyond_chance.span_start
    inner join evidence on pieces.source = evidence.source and pieces.symbol = evidence.symbol
    inner join series on pieces.source = series.source and pieces.symbol = series.symbol
    where pieces.reason in ('silent', 'unasked') and not pieces.is_trailing

),

combined as (

    select * from silent

    union all

    select
        source,
        symbol,
        calendar,
        session_date,
        reason,
        piece_start,
        piece_end
    from pieces
    where reason in ('quarantined', 'outage', 'never_fetched')

),

merged as (

    select
        source,
        symbol,
        calendar,
        session_date,
        reason,
        unnest(range_agg(tstzrange(gap_start, gap_end))) as gap
    from combined
    group by source, symbol, calendar, session_date, reason

)

select
    merged.symbol,
    merged.source,
    merged.calendar,
    merged.session_date,
    lower(merged.gap) as gap_start,
    upper(merged.gap) as gap_end,
    extract(epoch from upper(merged.gap) - lower(merged.gap))::integer / 60 as minutes,
    merged.reason,
    coalesce(known.found_at, search.found_at) as found_at
from merged
cross join (select max(found_at) as found_at from {{ ref('stg_ops__gap_scope') }}) as search
left join lateral (
    {{ known_gap_since('merged.symbol', 'merged.source', 'merged.gap') }}
) as known on true
