"""Buys below the lower Bollinger band and sells above the upper one, until the middle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.backtest.indicators import deviation, held, side, sma
from include.backtest.strategy import Parameter, Params, Strategy

if TYPE_CHECKING:
    import pandas as pd


def _signals(candles: pd.DataFrame, params: Params) -> pd.Series[float]:
    close, middle = candles["close"], sma(candles["close"], params["window"])
    distance = params["deviations"] * deviation(close, params["window"])
    where = side(close - middle)
    return held(close < middle - distance, close > middle + distance, where != where.shift())


STRATEGY = Strategy(
    name="bollinger_reversion",
    text="long from below the lower band until the middle one",
    parameters=(
        Parameter("window", 20, 2, 5_000, "candles", grid=(10, 20, 50)),
        Parameter("deviations", 2.0, 0.1, 10, "standard deviations", grid=(1.5, 2.0, 2.5)),
    ),
    signals=_signals,
    warm_up=lambda p: p["window"],
)
