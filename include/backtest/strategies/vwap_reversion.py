"""Buys well below the session's VWAP, which the marts keep, and sells well above it, until it is reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.backtest.indicators import held, side
from include.backtest.strategy import Parameter, Params, Strategy

if TYPE_CHECKING:
    import pandas as pd


def _signals(candles: pd.DataFrame, params: Params) -> pd.Series[float]:
    away = (candles["close"] / candles["vwap_session"] - 1) * 10_000
    where = side(away)
    return held(away < -params["distance"], away > params["distance"], where != where.shift())


STRATEGY = Strategy(
    name="vwap_reversion",
    text="long from a distance below the session's VWAP until it is reached",
    parameters=(Parameter("distance", 20.0, 0.1, 5_000, "basis points", grid=(10.0, 20.0, 50.0)),),
    signals=_signals,
    warm_up=lambda _: 1,
    needs=("close", "vwap_session"),
)
