"""What the models look at: six numbers of each candle, each in units of what is usual for it. No look-ahead.

Every number of a row follows from that row, the `HISTORY` rows of its series before it, and a baseline learned before.
A number that is not known (no spread, no volume, the first rows of a series, a minute missing) is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from include.models.seasonal import Baseline, Ints, Numbers

Flags = npt.NDArray[np.bool_]

FEATURES: Final = ("return_1m", "return_5m", "volume", "volume_change", "spread", "volatility")
"""return_1m, return_5m: log return, in deviations of the minutes before it. volume, spread, volatility: in robust
deviations from what is usual at this time. volume_change: the logarithm of the volume to that of the minutes before."""

COLUMNS: Final = ("close", "volume", "volatility_20", "spread")
RECENT: Final = 20
HISTORY: Final = RECENT
_LEAST_SHARE: Final = 0.2  # of the usual volatility, below which the deviations of a return are not taken


def features(columns: Mapping[str, Numbers], minutes: Ints, is_first: Flags, baseline: Baseline, of: Ints) -> Numbers:
    """The features (rows, len(FEATURES)) of rows ordered by series and time.

    `minutes`: candle starts in minutes since 1970. `is_first`: a series begins here. `of`: the place of each row's
    symbol in the baseline, -1 where it has none: its row is NaN throughout.
    """
    series: Ints = np.cumsum(is_first, dtype=np.int64)
    close, volume, volatility = columns["close"], columns["volume"], columns["volatility_20"]
    with np.errstate(divide="ignore", invalid="ignore"):
        log_close = np.where(close > 0, np.log(close), np.nan)
        log_volume = np.where(volume > 0, np.log(volume), np.nan)
    usual = baseline.usual("volatility", of, minutes)
    usual_move = np.where(np.isfinite(volatility), np.fmax(volatility, _LEAST_SHARE * usual), usual)
    found = np.full((len(minutes), len(FEATURES)), np.nan)
    for number, length in enumerate((1, 5)):
        before = _minutes_before(minutes, series, length)
        change = log_close - _at(log_close, before)
        found[:, number] = change / (_at(usual_move, before) * np.sqrt(length))
    found[:, 2] = baseline.deviations("volume", of, minutes, volume)
    found[:, 3] = log_volume - _mean_before(log_volume, series, RECENT)
    found[:, 4] = baseline.deviations("spread", of, minutes, columns["spread"])
    found[:, 5] = baseline.deviations("volatility", of, minutes, volatility)
    found[~np.isfinite(found)] = np.nan
    found[of < 0] = np.nan
    return found


def _minutes_before(minutes: Ints, series: Ints, length: int) -> Ints:
    """The place of the row of the same series exactly so many minutes earlier, -1 where there is none."""
    place = np.arange(len(minutes))
    found = np.full(len(minutes), -1)
    for back in range(1, length + 1):  # fewer rows lie between where minutes are missing
        earlier = np.maximum(place - back, 0)
        hit = (place >= back) & (series[earlier] == series) & (minutes - minutes[earlier] == length)
        found[hit] = earlier[hit]
    return found


def _at(values: Numbers, place: Ints) -> Numbers:
    return np.where(place >= 0, values[np.maximum(place, 0)], np.nan) if values.size else values


def _mean_before(values: Numbers, series: Ints, length: int) -> Numbers:
    """The mean of the `length` rows of the series before each row; NaN unless half of them are there and known.

    Added up row by row, so that it does not depend on what lies further back.
    """
    total, known = np.zeros(len(values)), np.zeros(len(values))
    finite = np.isfinite(values)
    for back in range(1, length + 1):
        same = (series[:-back] == series[back:]) & finite[:-back] if back < len(values) else np.zeros(0, dtype=bool)
        if not same.size:
            break
        total[back:] += np.where(same, values[:-back], 0.0)
        known[back:] += same
    return np.where(known >= length / 2, total / np.maximum(known, 1), np.nan)
