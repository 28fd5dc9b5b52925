"""Buys what is oversold and sells what is overbought, by RSI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.backtest.indicators import FADED, held, rsi
from include.backtest.strategy import Parameter, Params, Strategy

if TYPE_CHECKING:
    import pandas as pd


def _signals(candles: pd.DataFrame, params: Params) -> pd.Series[float]:
    strength = rsi(candles["close"], params["window"])
    return held(strength < params["low"], strength > params["high"])


STRATEGY = Strategy(
    name="rsi_reversion",
    text="long from RSI below low until it is above high",
    parameters=(
        Parameter("window", 14, 2, 1_000, "candles", grid=(7, 14, 28)),
        Parameter("low", 30.0, 0, 100, "RSI", grid=(20.0, 30.0)),
        Parameter("high", 70.0, 0, 100, "RSI", grid=(60.0, 70.0)),
    ),
    signals=_signals,
    warm_up=lambda p: p["window"] + 1,
    look_back=lambda p: 2 * FADED * p["window"],  # Wilder's mean forgets half as fast
    objection=lambda p: "" if p["low"] < p["high"] else f"low = {p['low']:g} is not below high = {p['high']:g}",
)
