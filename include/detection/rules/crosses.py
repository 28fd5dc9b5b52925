"""Rules on one mean that crosses another, and on the RSI: signals, BUY and SELL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from include.alerts import Severity
from include.detection.rule import Mark, Marks, Params, Rows, Rule
from include.detection.rules import columns as c


class CrossParams(Params):
    severity: Severity = "info"
    cooldown_minutes: int = Field(1, ge=1, le=1440, description="each cross is an alert of its own; minutes, 1 to 1440")


class RareCrossParams(CrossParams):
    enabled: bool = False


class Cross(Rule[CrossParams]):
    """BUY where `fast` comes from at or below `slow` to above it, SELL mirrored."""

    directions = ("BUY", "SELL")
    fast: ClassVar[str]
    slow: ClassVar[str]
    names: ClassVar[tuple[str, str]]
    by_price: ClassVar[bool] = False  # the two are differences of prices, which may be 0

    def history(self, params: CrossParams) -> int:
        return 1

    def find(self, rows: Rows, params: CrossParams, models: Mapping[str, Any]) -> Marks:
        fast, slow = rows[self.fast], rows[self.slow]
        found = c.crosses(rows, fast, slow, rows["close"] if self.by_price else slow)
        return Marks(found, fast, slow, {self.fast: (fast, None, None), self.slow: (slow, None, None)})

    def message(self, mark: Mark, params: CrossParams) -> str:
        fast, slow = self.names
        return (
            f"{mark.direction} at {c.number(mark.row['close'])}: {fast} {c.number(mark.value)} crossed {slow} "
            f"{c.number(mark.threshold)} {'upwards' if mark.direction == 'BUY' else 'downwards'}"
        )


class SmaCross(Cross):
    """The mean of the last 5 closes crosses that of the last 20. Differences below a billionth count as equal."""

    name = "sma_cross"
    title = "The mean of 5 closes crosses the mean of 20: BUY or SELL"
    params = CrossParams
    fast, slow, names = "sma_5", "sma_20", ("SMA-5", "SMA-20")
    needs = ("close", "sma_5", "sma_20")


class EmaCross(Cross):
    """The exponential mean of 12 closes crosses that of 26. Off as shipped: a signal every hour, as `sma_cross`."""

    name = "ema_cross"
    title = "The exponential mean of 12 closes crosses that of 26: BUY or SELL"
    params = RareCrossParams
    fast, slow, names = "ema_12", "ema_26", ("EMA-12", "EMA-26")
    needs = ("close", "ema_12", "ema_26")


class MacdCross(Cross):
    """MACD (12, 26) crosses its signal line (9). Off as shipped: several signals every hour."""

    name = "macd_cross"
    title = "MACD crosses its signal line: BUY or SELL"
    params = RareCrossParams
    fast, slow, names, by_price = "macd", "macd_signal", ("MACD", "its signal"), True
    needs = ("close", "macd", "macd_signal")


class RsiParams(Params):
    severity: Severity = "info"
    high: float = Field(95.0, gt=50, lt=100, description="overbought above it, between 50 and 100")
    low: float = Field(5.0, gt=0, lt=50, description="oversold below it, between 0 and 50")


class RsiExtreme(Rule[RsiParams]):
    """`rsi_14` above `high` (up: overbought) or below `low` (down: oversold).

    The usual 70 and 30 are left several times an hour on minutes; these are for once in days.
    """

    name = "rsi_extreme"
    title = "The RSI of 14 candles is extreme"
    params = RsiParams
    needs = ("close", "rsi_14")

    def find(self, rows: Rows, params: RsiParams, models: Mapping[str, Any]) -> Marks:
        rsi = rows["rsi_14"]
        found = c.sides(rsi > params.high, rsi < params.low)
        low, high = np.full(len(rows), params.low), np.full(len(rows), params.high)
        return Marks(found, rsi, np.where(found < 0, low, high), {"rsi_14": (rsi, low, high)})

    def message(self, mark: Mark, params: RsiParams) -> str:
        kind = "overbought" if mark.direction == "up" else "oversold"
        return f"RSI is {mark.value:.0f} at {c.number(mark.row['close'])}: {kind} (limit {mark.threshold:g})"
