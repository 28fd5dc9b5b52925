{{ changed_spans('candles_1m', 1, lookback=[20, var('zscore_window') | int(20)] | max) }}
