{{
    unioned(
        'bar',
        ['replay', 'yahoo', 'alphavantage', 'polygon', 'binance', 'coinbase', 'kraken'],
        [
            'source', 'symbol', 'event_time', 'vendor_id', 'resolution', 'session', 'open', 'high', 'low', 'close', 'volume',
            'trade_count', 'vwap'
        ]
    )
}}
