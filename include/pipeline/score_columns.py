"""Candles of one series as the rows that rules read: the columns of `marts.indicators_1m`, by the same formulas.

So that a month can be judged without building marts of it. A test holds them against the marts.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np

from include.backtest.indicators import ema, macd, rsi, sma, wilder
from include.calendars import AROUND_THE_CLOCK, sessions
from include.detection.rule import Numbers, Rows
from include.events import Window

if TYPE_CHECKING:
    import pandas as pd

_MEANS: Final = (5, 20, 50, 200)
_BAND: Final = 20  # z-score, Bollinger, volatility, volume: all of the last 20
_WIDTH: Final = 2.0
_CHANGES: Final = 10
_WILDER: Final = 14
_MINUTE: Final = timedelta(minutes=1)


def rows_of(symbol: str, candles: pd.DataFrame, calendar: str = "24/7") -> Rows:
    """One series as rows. `candles`: indexed by their starts (UTC), in order; high, low, close, volume as doubles.

    `previous_close` where the source tells it, else the last close of an earlier UTC day; `spread` in basis points
    where there are quotes. A series begins with the first one.
    """
    starts: Sequence[datetime] = candles.index.to_pydatetime().tolist()  # type: ignore[attr-defined]
    is_first = np.zeros(len(starts), dtype=np.bool_)
    is_first[:1] = True
    return Rows([symbol] * len(starts), starts, [""] * len(starts), is_first, columns(candles, calendar))


def columns(candles: pd.DataFrame, calendar: str = "24/7") -> dict[str, Numbers]:
    """The columns, NaN where not defined."""
    close, volume = candles["close"], candles["volume"]
    fast, slow = ema(close, 12), ema(close, 26)
    line, signal = macd(close, 12, 26, 9)
    logs = np.log(close.where(close > 0)).diff()
    mean, deviation = sma(close, _BAND), _deviation(close, _BAND)
    previous = candles["previous_close"] if "previous_close" in candles else _close_of_earlier_day(close)
    ranges = _true_range(candles)
    found = {
        "close": close, "high": candles["high"], "low": candles["low"], "volume": volume,
        "return": close / close.shift().where(close.shift() != 0) - 1, "log_return": logs,
        "previous_close": previous, "change_percent": (close / previous.where(previous != 0) - 1) * 100,
        **{f"sma_{n}": sma(close, n) for n in _MEANS},
        "ema_12": fast, "ema_26": slow, "macd": line, "macd_signal": signal, "macd_histogram": line - signal,
        "rolling_mean": mean, "rolling_std": deviation, "zscore": (close - mean) / deviation.where(deviation != 0),
        "bollinger_upper": mean + _WIDTH * deviation, "bollinger_middle": mean,
        "bollinger_lower": mean - _WIDTH * deviation,
        "bollinger_percent_b": (close - mean + _WIDTH * deviation) / (2 * _WIDTH * deviation).where(deviation != 0),
        "bollinger_width": 2 * _WIDTH * deviation / mean.where(mean != 0),
        f"rsi_{_WILDER}": rsi(close, _WILDER), "true_range": ranges, f"atr_{_WILDER}": wilder(ranges, _WILDER),
        f"volatility_{_BAND}": logs.rolling(_BAND).std(ddof=1),
        "volume_zscore": _zscore(volume), "vwap_session": _vwap(candles, calendar),
        f"roc_{_CHANGES}": (close / close.shift(_CHANGES) - 1) * 100,
        "spread": candles["spread"] if "spread" in candles else close * np.nan,
    }  # fmt: skip
    return {name: np.ascontiguousarray(one, dtype=np.float64) for name, one in found.items()}


def _deviation(values: pd.Series[float], window: int) -> pd.Series[float]:
    """Of the population; exactly 0 where the last ones are the same."""
    import pandas as pd

    found = np.full(len(values), np.nan)
    if len(values) >= window:
        found[window - 1 :] = np.lib.stride_tricks.sliding_window_view(values.to_numpy(), window).std(axis=1)
    last = values.rolling(window)
    return pd.Series(found, index=values.index).mask(last.max() == last.min(), 0.0)


def _zscore(values: pd.Series[float]) -> pd.Series[float]:
    deviation = _deviation(values, _BAND)
    return (values - values.rolling(_BAND).mean()) / deviation.where(deviation != 0)


def _true_range(candles: pd.DataFrame) -> pd.Series[float]:
    before = candles["close"].shift()
    return candles["high"].clip(lower=before) - candles["low"].clip(upper=before).where(before.notna())


def _close_of_earlier_day(close: pd.Series[float]) -> pd.Series[float]:
    import pandas as pd

    days = pd.DatetimeIndex(close.index).floor("D")
    last = close.groupby(days).last().shift()
    return pd.Series(last.reindex(days).to_numpy(), index=close.index)


def _vwap(candles: pd.DataFrame, calendar: str) -> pd.Series[float]:
    """The mean of high, low and close, weighted by volume, since the session began: an opening, or midnight (UTC)."""
    import pandas as pd

    at = pd.DatetimeIndex(candles.index).as_unit("s").asi8
    began = at - at % 86_400
    if calendar not in AROUND_THE_CLOCK and len(at):
        times = candles.index[0].to_pydatetime(), candles.index[-1].to_pydatetime()
        around = Window(times[0].replace(hour=0, minute=0), times[1] + _MINUTE)
        opens = np.array([0, *(int(one.start.timestamp()) for one in sessions(calendar, around))])
        began = np.maximum(began, opens[np.searchsorted(opens, at, side="right") - 1])
    price = (candles["high"] + candles["low"] + candles["close"]) / 3
    volume = candles["volume"].fillna(0)
    paid, units = (price * volume).groupby(began).cumsum(), volume.groupby(began).cumsum()
    return paid / units.where(units > 0)
