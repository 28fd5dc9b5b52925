"""The rules: rows of candles in, the side of each row out. Pure, and one pass for all symbols together.

A side is +1 (up, BUY), -1 (down, SELL) or 0. A number that is not known (NULL in the marts) is NaN here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Sides = npt.NDArray[np.int8]
Flags = npt.NDArray[np.bool_]
Column = TypeVar("Column", Numbers, Sides)

EQUAL: Final = 1e-9  # differences of two means below this count as 0
ROUNDING: Final = 1e-14  # what doubles cannot tell apart, as a share of the price


@dataclass(frozen=True, slots=True)
class Candles:
    """Candles of any number of symbols, ordered by symbol and start, as columns.

    `is_new` is false where a candle is context only: the one before the first new one of its symbol.
    """

    symbol: Sequence[str]
    candle_start: Sequence[datetime]
    close: Numbers
    zscore: Numbers
    change_percent: Numbers
    sma_5: Numbers
    sma_20: Numbers
    is_new: Flags

    @property
    def is_first(self) -> Flags:
        """Where a symbol begins: that candle has none before it."""
        return np.array([True, *(one != other for one, other in pairwise(self.symbol))][: len(self.symbol)], dtype=bool)


def outside(values: Numbers, threshold: Numbers) -> Sides:
    """+1 above the threshold, -1 below minus the threshold, 0 within the band, on its edge, or unknown."""
    return (values > threshold).astype(np.int8) - (values < -threshold).astype(np.int8)


def excursions(sides: Sides, is_first: Flags) -> Flags:
    """Where an excursion begins: outside, and the candle before was inside, on the other side, or absent."""
    begins: Flags = (sides != 0) & (sides != _before(sides, is_first, 0))
    return begins


def crosses(fast: Numbers, slow: Numbers, is_first: Flags) -> Sides:
    """+1 where fast - slow is above 0 and was at or below 0 one candle before, -1 mirrored; 0 while one is unknown."""
    difference = fast - slow
    price = np.abs(slow)
    difference[np.abs(difference) < np.maximum(EQUAL * np.minimum(price, 1.0), ROUNDING * price)] = 0.0
    before = _before(difference, is_first, np.nan)
    up: Flags = (difference > 0) & (before <= 0)
    down: Flags = (difference < 0) & (before >= 0)
    return up.astype(np.int8) - down.astype(np.int8)


def _before(values: Column, is_first: Flags, absent: float) -> Column:
    """Each row's predecessor of the same symbol."""
    shifted = np.empty_like(values)
    shifted[1:] = values[:-1]
    shifted[is_first] = absent
    return shifted
