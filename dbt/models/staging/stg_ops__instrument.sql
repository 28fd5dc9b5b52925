with

listed as (

    select * from {{ source('ops', 'instruments') }}

),

registered as (

    select * from {{ source('ops', 'registered_instruments') }}

),

combined as (

    select
        symbol,
        asset_class,
        currency,
        calendar,
        primary_source,
        fallbacks
    from listed

    union all

    -- what the file says comes first
    select
        registered.symbol,
        registered.asset_class,
        registered.currency,
        registered.calendar,
        registered.primary_source,
        '{}'::text[] as fallbacks
    from registered
    left join listed on registered.symbol = listed.symbol
    where listed.symbol is null

)

select * from combined
