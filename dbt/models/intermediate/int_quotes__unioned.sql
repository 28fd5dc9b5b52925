{{
    unioned(
        'quote',
        ['simulator', 'replay', 'coingecko', 'yahoo', 'alphavantage', 'polygon', 'binance', 'coinbase', 'kraken'],
        [
            'source', 'symbol', 'event_time', 'vendor_id', 'price', 'bid', 'ask', 'previous_close', 'change_percent',
            'day_volume', 'volume_24h'
        ]
    )
}}
