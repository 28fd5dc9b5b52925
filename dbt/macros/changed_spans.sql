{#
    What of each symbol's series of `candles` (of `minutes` minutes) is made again: the changed candles and those of `more`; the
    next ones, as many as look back on them; the rest of a day whose day before changed; and, where the last candle of a day
    changed, the next day that has candles. Two spans of a symbol are so far apart that neither looks back on a candle that the
    other changes.
#}
{% macro changed_spans(candles, minutes, lookback, more=none) -%}
{%- set length = "interval '" ~ minutes ~ " minutes'" -%}
{%- set both %}(
    -- a session may begin on the UTC day before its minutes
    select
        symbol,
        {{ "from_candle - interval '1 day' as from_candle" if minutes == 1440 else 'from_candle' }},
        until_candle
    from ({{ changed_ranges(keys=['symbol'], minutes=minutes) }}) as ranges
    {%- if more %}
    union all
    {{ more }}
    {%- endif %}
) as changed_and_more
{%- endset -%}
with

changed as (

    {{ islands(both, ['symbol'], gap=5) }}

),

sources as (

    select
        symbol,
        array_agg(source) as names
    from {{ ref('stg_ops__instrument_source') }}
    group by symbol

),

followed as (

    select
        changed.*,
        {{ utc_day("changed.until_candle - " ~ length) }} as last_day,
        following.next_candle,
        following.last_candle
    from changed
    left join sources on changed.symbol = sources.symbol
    cross join lateral (
        select
            min(later.candle_start) as next_candle,
            max(later.candle_start) as last_candle
        from (
            select distinct candles.candle_start
            from {{ ref(candles) }} as candles
            where
                candles.symbol = changed.symbol
                and candles.candle_start >= changed.until_candle
                and candles.source = any(sources.names)
            order by candles.candle_start
            limit {{ lookback }}
        ) as later
    ) as following

),

-- the day whose previous close changed
days as (

    select
        *,
        case
            when {{ utc_day('next_candle') }} > last_day then {{ utc_day('next_candle') }}
            when {{ utc_day('from_candle') }} < last_day then last_day
        end as other_day
    from followed

),

extended as (

    select
        days.symbol,
        days.from_candle,
        greatest(
            days.until_candle, days.last_candle + {{ length }}, in_day.last_candle + {{ length }}
        ) as until_candle
    from days
    cross join lateral (
        select max(candles.candle_start) as last_candle
        from {{ ref(candles) }} as candles
        where
            candles.symbol = days.symbol
            and candles.candle_start >= days.other_day
            and candles.candle_start < days.other_day + interval '1 day'
    ) as in_day

)

{{ islands('extended', ['symbol']) }}
{%- endmacro %}
