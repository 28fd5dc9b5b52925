"""Long while the fast mean of closes is above the slow one, short while it is below."""

from __future__ import annotations

from include.backtest.indicators import side, sma
from include.backtest.strategy import Parameter, Strategy

STRATEGY = Strategy(
    name="sma_cross",
    text="long while the fast mean of closes is above the slow one",
    parameters=(
        Parameter("fast", 5, 1, 5_000, "candles", grid=(5, 10, 20)),
        Parameter("slow", 20, 2, 5_000, "candles", grid=(20, 50, 100)),
    ),
    signals=lambda candles, p: side(sma(candles["close"], p["fast"]) - sma(candles["close"], p["slow"])),
    warm_up=lambda p: p["slow"],
    objection=lambda p: "" if p["fast"] < p["slow"] else f"fast = {p['fast']} is not below slow = {p['slow']}",
)
