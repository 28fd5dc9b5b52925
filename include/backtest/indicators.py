"""Indicators for strategies, as the marts define them (dbt/models/vocabulary.md), over any window.

All are causal: the value of a row comes from it and earlier ones. No value (NaN) until there are enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pandas as pd

    Column = pd.Series[float]

TIE: Final = 1e-9
"""What differs by less is equal: doubles that are summed in another order differ in their last digits."""
FADED: Final = 20
"""After so many windows an exponential mean has forgotten how it began: (1 - 2 / (n + 1)) ** (20 n) is below 1e-17."""


def sma(values: Column, window: int) -> Column:
    """Mean of the last `window` values."""
    return values.rolling(window).mean()


def ema(values: Column, window: int) -> Column:
    """Exponential mean, weight 2 / (window + 1); its first value is the mean of the first `window` ones."""
    return _exponential(values, window, 2 / (window + 1))


def wilder(values: Column, window: int) -> Column:
    """The same with Wilder's weight, 1 / window."""
    return _exponential(values, window, 1 / window)


def rsi(closes: Column, window: int) -> Column:
    """Relative strength by Wilder, 0 to 100; none where no close has ever moved."""
    changes = closes.diff()
    gains, losses = wilder(changes.clip(lower=0), window), wilder(-changes.clip(upper=0), window)
    moved = gains + losses
    return 100 * gains / moved.where(moved > 0)


def macd(closes: Column, fast: int, slow: int, signal: int) -> tuple[Column, Column]:
    """MACD and its signal line."""
    line = ema(closes, fast) - ema(closes, slow)
    return line, ema(line, signal)


def deviation(values: Column, window: int) -> Column:
    """Standard deviation of the last `window` values (of the population)."""
    return values.rolling(window).std(ddof=0)


def side(values: Column) -> Column:
    """1 where above 0, -1 where below; at 0, and where unknown, as before. 0 until something is known."""
    return held(values > TIE, values < -TIE)


def held(buys: pd.Series[bool], sells: pd.Series[bool], exits: pd.Series[bool] | None = None) -> Column:
    """1 from a buy, -1 from a sell, 0 from an exit on, until the next of them. A buy or sell outweighs an exit."""
    import numpy as np
    import pandas as pd

    events = np.where(buys, 1.0, np.where(sells, -1.0, np.nan if exits is None else np.where(exits, 0.0, np.nan)))
    return pd.Series(events, index=buys.index).ffill().fillna(0.0)


def _exponential(values: Column, window: int, weight: float) -> Column:
    known = values.notna().to_numpy()
    if not known.any():
        return values
    place = int(known.argmax()) + window - 1
    seeded = values.copy()
    seeded.iloc[:place] = float("nan")
    if place < len(values):
        seeded.iloc[place] = values.iloc[place - window + 1 : place + 1].mean()
    return seeded.ewm(alpha=weight, adjust=False).mean()
