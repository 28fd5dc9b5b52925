"""Long while MACD is above its signal line, short while it is below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.backtest.indicators import FADED, macd, side
from include.backtest.strategy import Parameter, Params, Strategy

if TYPE_CHECKING:
    import pandas as pd


def _signals(candles: pd.DataFrame, params: Params) -> pd.Series[float]:
    line, signal = macd(candles["close"], params["fast"], params["slow"], params["signal"])
    return side(line - signal)


STRATEGY = Strategy(
    name="macd_cross",
    text="long while MACD is above its signal line",
    parameters=(
        Parameter("fast", 12, 1, 2_000, "candles", grid=(8, 12)),
        Parameter("slow", 26, 2, 2_000, "candles", grid=(26, 52)),
        Parameter("signal", 9, 1, 2_000, "candles", grid=(9, 18)),
    ),
    signals=_signals,
    warm_up=lambda p: p["slow"] + p["signal"] - 1,
    look_back=lambda p: FADED * (p["slow"] + p["signal"]),
    objection=lambda p: "" if p["fast"] < p["slow"] else f"fast = {p['fast']} is not below slow = {p['slow']}",
)
