with

loads as (

    select * from {{ ref('stg_ops__load') }}

),

quarantined as (

    select * from {{ ref('stg_raw__quarantine_reason') }}

),

results as (

    select * from {{ ref('stg_ops__build_result') }}

),

combined as (

    select
        'load' as kind,
        load_id::text as name,
        '' as rule,
        audited_at as checked_at,
        case state when 'landed' then 'waiting' when 'rejected' then 'failed' else 'passed' end as state,
        read_count::bigint as row_count,
        quarantined_count::bigint as failed_rows,
        origin as detail
    from loads

    union all

    select
        'rule' as kind,
        loads.load_id::text as name,
        failed.said ->> 'rule' as rule,
        loads.audited_at as checked_at,
        'failed' as state,
        loads.read_count as row_count,
        (failed.said ->> 'rows')::bigint as failed_rows,
        failed.said ->> 'observed' as detail
    from loads
    cross join lateral jsonb_array_elements(loads.failures) as failed (said)

    union all

    select
        'quarantine' as kind,
        quarantined.load_id::text as name,
        quarantined.reason as rule,
        loads.audited_at as checked_at,
        'failed' as state,
        loads.read_count as row_count,
        quarantined.failed_rows,
        loads.origin as detail
    from quarantined
    inner join loads on quarantined.load_id = loads.load_id

    union all

    select
        kind,
        name,
        '' as rule,
        built_at as checked_at,
        case
            when state in ('pass', 'success') then 'passed'
            when state = 'skipped' then 'waiting'
            else 'failed'
        end as state,
        case kind when 'model' then rows end as row_count,
        case kind when 'test' then rows end as failed_rows,
        message as detail
    from results

)

select * from combined
