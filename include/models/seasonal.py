"""The seasonal baseline: what is usual for an instrument at this time of the week, in robust numbers.

For each symbol and quantity (volume, volatility, spread; all in logarithms) and each half hour of the week or of the
day, in UTC: the median, and how far from it is usual. Four weeks make a baseline by time of the week; one week makes
one by time of day alone; less makes none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

QUANTITIES: Final = ("volume", "volatility", "spread")
BUCKET_MINUTES: Final = 30
WEEKS_FOR_WEEK: Final = 4
_PER_DAY: Final = 1440 // BUCKET_MINUTES
_MONDAY: Final = 4 * 1440  # minutes from 1970-01-01, a Thursday, to a Monday
_FOLDS: Final = 4
_FEWEST: Final = 20  # known minutes that a bucket needs
_NARROWEST: Final = 0.05  # in log terms: nothing is as regular as to make 5 % remarkable
TO_DEVIATIONS: Final = 1.4826  # of a normal distribution, from its MAD


class TooShortError(ValueError):
    """The window holds less than a week; the text says how much it holds."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """Median and usual distance from it, by symbol, quantity and bucket; NaN where too little was known.

    `medians` and `scales` have the shape (symbols, quantities, buckets); 336 buckets are a week, 48 are a day.
    """

    symbols: tuple[str, ...]
    medians: Numbers
    scales: Numbers

    def deviations(self, quantity: str, of: Ints, minutes: Ints, values: Numbers) -> Numbers:
        """How many robust deviations a value's logarithm is from its usual. `of`: its place in `symbols`, or -1."""
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.where(values > 0, np.log(values), np.nan)
        median, scale = self._usual(quantity, of, minutes)
        return np.asarray((logs - median) / scale)

    def usual(self, quantity: str, of: Ints, minutes: Ints, deviations: float = 0.0) -> Numbers:
        """The value that is so many deviations from the median at these minutes."""
        median, scale = self._usual(quantity, of, minutes)
        return np.asarray(np.exp(median + deviations * scale))

    def _usual(self, quantity: str, of: Ints, minutes: Ints) -> tuple[Numbers, Numbers]:
        which, place = QUANTITIES.index(quantity), bucket(minutes, self.medians.shape[2])
        known = of >= 0
        row = np.where(known, of, 0)
        if not self.symbols:
            return np.full(of.shape, np.nan), np.full(of.shape, np.nan)
        median = np.where(known, self.medians[row, which, place], np.nan)
        return median, np.where(known, self.scales[row, which, place], np.nan)


def bucket(minutes: Ints, buckets: int) -> Ints:
    """The bucket of minutes since 1970, where so many buckets make a week or a day."""
    return np.asarray((minutes - _MONDAY) // BUCKET_MINUTES % buckets)


def places(symbols: Sequence[str], rows: Sequence[str]) -> Ints:
    """Where each row's symbol stands among `symbols`; -1 where it is none of them."""
    known = {symbol: place for place, symbol in enumerate(symbols)}
    return np.fromiter((known.get(symbol, -1) for symbol in rows), np.int64, len(rows))


def buckets_for(days: float) -> int:
    """336 (time of the week) for at least four weeks, 48 (time of day) for at least one.

    Raises TooShortError for less.
    """
    if days >= 7 * WEEKS_FOR_WEEK:
        return 7 * _PER_DAY
    if days >= 7:
        return _PER_DAY
    raise TooShortError(f"{days:g} days are less than a week, and what is usual at a time of day takes one at least")


def train_symbol(minutes: Ints, columns: Mapping[str, Numbers], buckets: int) -> tuple[Numbers, Numbers]:
    """Medians and scales of one symbol, each of the shape (quantities, buckets), from rows of ascending minutes.

    A scale is the wider of two: the bucket's own MAD, and the MAD of all minutes from what the *other* weeks (of a
    daily baseline: other days) say of their bucket. The first alone is far too narrow where a whole half hour moves
    together: four weeks are four such half hours, not 120 minutes.
    """
    medians, scales = np.full((2, len(QUANTITIES), buckets), np.nan)
    if not minutes.size:
        return medians, scales
    period = (minutes - _MONDAY) // (buckets * BUCKET_MINUTES)
    row, place = period - period[0], bucket(minutes, buckets)
    grid_of = (place, row, (minutes - _MONDAY) % BUCKET_MINUTES)
    shape = (buckets, int(row[-1]) + 1, BUCKET_MINUTES)
    folds = np.arange(shape[1]) % _FOLDS
    for number, quantity in enumerate(QUANTITIES):
        values = columns[quantity]
        logs = np.log(values, where=values > 0, out=np.full(values.shape, np.nan))
        grid = np.full(shape, np.nan)
        grid[grid_of] = logs
        median = _median(grid.reshape(buckets, -1))
        own = _median(np.abs(grid - median[:, None, None]).reshape(buckets, -1))
        outside = np.full(shape, np.nan)
        for fold in np.unique(folds):
            others = _median(grid[:, folds != fold].reshape(buckets, -1))
            outside[:, folds == fold] = np.abs(grid[:, folds == fold] - others[:, None, None])
        pooled = _median(outside.reshape(1, -1))[0]
        enough = np.isfinite(grid).sum(axis=(1, 2)) >= _FEWEST
        medians[number] = np.where(enough, median, np.nan)
        scales[number] = np.where(enough, TO_DEVIATIONS * np.fmax(np.fmax(own, pooled), _NARROWEST), np.nan)
    return medians, scales


def _median(rows: Numbers) -> Numbers:
    """The median of each row's known numbers; NaN where none is known. (`np.nanmedian` takes ten times as long.)"""
    if not rows.shape[1]:
        return np.full(len(rows), np.nan)
    ordered, known = np.sort(rows, axis=1), np.isfinite(rows).sum(axis=1)
    each, last = np.arange(len(rows)), np.maximum(known - 1, 0)
    middle = (ordered[each, last // 2] + ordered[each, (last + 1) // 2]) / 2
    return np.where(known > 0, middle, np.nan)
