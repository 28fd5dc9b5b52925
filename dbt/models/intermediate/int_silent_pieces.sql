{{
    config(
        materialized='incremental',
        incremental_strategy='replace',
        on_schema_change='fail',
        full_refresh=false,
        tags=['on_demand'],
        post_hook='analyze {{ this }}'
    )
}}

-- The judged silences, cut by what is known of them: `quarantined`, `outage` (asked for, not answered),
-- `never_fetched` (since the platform polls the source, no poll covers it), `silent` (asked for, answered, nothing in
-- it), `unasked` (of a time of which no question is written down).
with

judged as (

    select
        *,
        tstzrange(part_start, part_end) as span
    from {{ ref('int_judged_silences') }}

),

evidence as (

    select * from {{ ref('int_evidence') }}

),

-- comparing first keeps it fast: most silences meet nothing of what is written down but an answer
quarantined as (

    select
        judged.*,
        evidence.failed,
        evidence.asked,
        tstzrange(coalesce(series.polled_from, 'infinity'), null) as polled,
        case
            when evidence.quarantined && judged.span then evidence.quarantined * tstzmultirange(judged.span)
            else tstzmultirange()
        end as quarantined
    from judged
    inner join evidence on judged.source = evidence.source and judged.symbol = evidence.symbol
    inner join {{ ref('stg_ops__gap_series') }} as series
        on judged.source = series.source and judged.symbol = series.symbol

),

failed as (

    select
        *,
        case
            when failed && span then failed * tstzmultirange(span) - quarantined
            else tstzmultirange()
        end as outage
    from quarantined

),

never_fetched as (

    select
        *,
        case
            when asked @> span or not span && polled then tstzmultirange()
            else tstzmultirange(span * polled) - asked - quarantined - outage
        end as never_fetched
    from failed

),

rest as (

    select
        *,
        tstzmultirange(span) - quarantined - outage - never_fetched as remaining,
        case when asked @> span then tstzmultirange(span) else asked * tstzmultirange(span) end as asked_of_it
    from never_fetched

),

cut as (

    select
        rest.*,
        pieces.reason,
        unnest(pieces.spans) as piece
    from rest
    cross join lateral (
        values
        ('quarantined', quarantined),
        ('outage', outage),
        ('never_fetched', never_fetched),
        ('silent', remaining * asked_of_it),
        ('unasked', remaining - asked_of_it)
    ) as pieces (reason, spans)

)

select
    source,
    symbol,
    calendar,
    session_date,
    part_start,
    part_end,
    run_start,
    run_end,
    is_quoted,
    is_trailing,
    is_context,
    reason,
    lower(piece) as piece_start,
    upper(piece) as piece_end,
    extract(epoch from upper(piece) - lower(piece))::bigint / 60 as minutes
from cut
