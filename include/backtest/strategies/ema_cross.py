"""Long while the fast exponential mean of closes is above the slow one, short while it is below."""

from __future__ import annotations

from include.backtest.indicators import FADED, ema, side
from include.backtest.strategy import Parameter, Strategy

STRATEGY = Strategy(
    name="ema_cross",
    text="long while the fast exponential mean of closes is above the slow one",
    parameters=(
        Parameter("fast", 12, 1, 2_000, "candles", grid=(6, 12, 24)),
        Parameter("slow", 26, 2, 2_000, "candles", grid=(26, 52, 104)),
    ),
    signals=lambda candles, p: side(ema(candles["close"], p["fast"]) - ema(candles["close"], p["slow"])),
    warm_up=lambda p: p["slow"],
    look_back=lambda p: FADED * p["slow"],
    objection=lambda p: "" if p["fast"] < p["slow"] else f"fast = {p['fast']} is not below slow = {p['slow']}",
)
