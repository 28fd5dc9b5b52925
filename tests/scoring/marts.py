"""The columns that rules are scored on, held against those of the marts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import psycopg

from include.pipeline.score_columns import columns


def unlike_the_marts(conn: psycopg.Connection, symbol: str, calendar: str) -> list[str]:
    """The columns that differ from those of marts.indicators_1m by more than rounding."""
    found = conn.execute("select * from marts.indicators_1m where symbol = %s order by candle_start", [symbol])
    marts = pd.DataFrame(found.fetchall(), columns=[one.name for one in found.description or ()])
    marts.index = pd.DatetimeIndex(pd.to_datetime(marts["candle_start"], utc=True))
    prices = marts[["high", "low", "close", "volume", "previous_close"]].astype("float64")
    ours = {name: values for name, values in columns(prices, calendar).items() if name != "spread"}
    assert len(ours) > 25
    return [
        name for name, values in ours.items()
        if not np.allclose(values, marts[name].astype("float64"), rtol=1e-9, atol=1e-9, equal_nan=True)
    ]  # fmt: skip
