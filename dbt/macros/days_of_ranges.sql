{# Whether an instrument's calendar is open around the clock: its days are those of UTC, whatever its sessions. #}
{% macro is_around_the_clock(calendar) -%}
    {{ calendar }} in ('{{ var("around_the_clock") | join("', '") }}')
{%- endmacro %}

{#
    The trading days that the rows of `ranges` (source, symbol, from_candle, until_candle) lie in: UTC days of what is open around
    the clock, else the sessions of the instrument's calendar. A break at noon parts a day in two rows [from_candle,
    until_candle); day_start and day_end are those of the whole day. Times outside of every session lie in none.
#}
{% macro days_of_ranges(ranges) -%}
    {%- set always = is_around_the_clock('days.calendar') -%}
    select
        days.source,
        days.symbol,
        days.session_date,
        pieces.opens_at as from_candle,
        pieces.closes_at as until_candle,
        min(pieces.opens_at) over whole_day as day_start,
        max(pieces.closes_at) over whole_day as day_end
    from (
        select distinct
            ranges.source,
            ranges.symbol,
            instruments.calendar,
            in_range.session_date
        from {{ ranges }} as ranges
        inner join {{ ref('stg_ops__instrument') }} as instruments on ranges.symbol = instruments.symbol
        cross join lateral (
            select (day.opens_at at time zone 'UTC')::date as session_date
            from generate_series(
                {{ utc_day('ranges.from_candle') }}, ranges.until_candle - interval '1 microsecond', interval '1 day'
            ) as day (opens_at)
            where {{ is_around_the_clock('instruments.calendar') }}
            union all
            select sessions.session_date
            from {{ ref('stg_ops__session') }} as sessions
            where
                not {{ is_around_the_clock('instruments.calendar') }}
                and sessions.calendar = instruments.calendar
                -- no session is longer than a day: one scan of an index
                and sessions.opens_at > ranges.from_candle - interval '1 day'
                and sessions.opens_at < ranges.until_candle
                and sessions.closes_at > ranges.from_candle
        ) as in_range
    ) as days
    cross join lateral (
        select
            days.session_date::timestamp at time zone 'UTC' as opens_at,
            (days.session_date + 1)::timestamp at time zone 'UTC' as closes_at
        where {{ always }}
        union all
        select
            sessions.opens_at,
            sessions.closes_at
        from {{ ref('stg_ops__session') }} as sessions
        where
            not {{ always }}
            and sessions.calendar = days.calendar
            and sessions.session_date = days.session_date
    ) as pieces
    window whole_day as (partition by days.source, days.symbol, days.session_date)
{%- endmacro %}
