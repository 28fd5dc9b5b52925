{{
    unioned(
        'action',
        ['yahoo'],
        ['source', 'symbol', 'event_time', 'vendor_id', 'action', 'ratio', 'amount', 'currency']
    )
}}
