{{
    unioned(
        'trade',
        ['simulator', 'replay', 'polygon', 'binance', 'coinbase', 'kraken'],
        ['source', 'symbol', 'event_time', 'vendor_id', 'side', 'price', 'size']
    )
}}
