"""What the simulator does on purpose, and when: at most one shock per symbol and UTC hour, wholly inside that hour.

Every sixth hour of a symbol has a price spike or a crash of 7 to 12 %; which hours these are follows from the symbol
alone, and the 25 instruments of the seed file cover every hour. The other kinds come by chance, about 1.7 a day.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from include.events import Window
from include.sources.noise import Floats, Ints, Keys, keys, uniform

NONE, PRICE_SPIKE, CRASH, VOLUME_SHOCK, FROZEN_FEED, GAP, MALFORMED_ROW = range(7)
NAMES: Final = ("", "price_spike", "crash", "volume_shock", "frozen_feed", "gap", "malformed_row")
_LENGTHS: Final = np.array([[0, 0], [1, 3], [45, 45], [3, 5], [10, 20], [3, 10], [1, 1]])  # minutes, from and to
_PERIOD: Final = 6
_CHANCE: Final = 1 / 12
_HALF_LIFE: Final = 8.0  # minutes


@dataclass(frozen=True, slots=True)
class Label:
    """One shock: which symbol, what, `[starts_at, ends_at)` in whole minutes, and its size.

    The size of a spike or crash is the share of the price (-0.08: 8 % down), of a volume shock the factor; else None.
    """

    symbol: str
    shock: str
    starts_at: datetime
    ends_at: datetime
    size: float | None


@dataclass(frozen=True, slots=True)
class Schedule:
    """Shocks of symbols (rows) by hour (columns): kind (0: none), first minute of the hour, minutes, size."""

    kind: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]
    size: Floats

    def during(self, column: int, kind: int, minutes: Ints) -> npt.NDArray[np.bool_]:
        """Where a shock of this kind is on, for minutes 0 to 59 of the hour in `column`."""
        start = self.start[:, [column]]
        on = (minutes >= start) & (minutes < start + self.length[:, [column]])
        return np.asarray((self.kind[:, [column]] == kind) & on)

    def price_effect(self, column: int, minutes: Ints) -> Floats:
        """What spikes and crashes add to the log price: a spike holds, a crash decays."""
        size = np.log1p(np.clip(self.size[:, [column]], -0.99, 1.0))
        age = minutes - self.start[:, [column]]
        decay = 2.0 ** (-age / _HALF_LIFE) * (1.0 - age / np.maximum(self.length[:, [column]], 1))
        spike = self.during(column, PRICE_SPIKE, minutes)
        crash = self.during(column, CRASH, minutes)
        return np.asarray(np.where(spike, size, 0.0) + np.where(crash, size * decay, 0.0))


def schedule(seed: int, symbols: Sequence[str], hours: Ints) -> Schedule:
    """The shocks of `symbols` in `hours` (whole hours since 1970)."""
    seeded = keys("shock", seed, each=list(symbols))
    phase = (keys("phase", each=list(symbols)) % np.uint64(_PERIOD)).astype(np.int64)
    which, first = uniform(seeded, hours, 1), uniform(seeded, hours, 2)
    price = np.where(which < 0.6, PRICE_SPIKE, CRASH)
    other = np.where(which < _CHANCE, VOLUME_SHOCK + (which / _CHANCE * 4).astype(np.int64), NONE)
    kind = np.where((hours + phase) % _PERIOD == 0, price, other)
    shortest, longest = _LENGTHS[kind, 0], _LENGTHS[kind, 1]
    length = shortest + (uniform(seeded, hours, 3) * (longest - shortest + 1)).astype(np.int64)
    start = 1 + (first * (59 - length)).astype(np.int64)  # never the hour's first minute, nor its last
    return Schedule(kind, start, length, _sizes(seeded, hours, kind))


def labels(seed: int, symbols: Sequence[str], window: Window) -> tuple[Label, ...]:
    """All shocks that overlap the window, by start and symbol. Pure: the same for every call, past or future."""
    return tuple(sorted(_labels(seed, symbols, window), key=lambda label: (label.starts_at, label.symbol)))


def _labels(seed: int, symbols: Sequence[str], window: Window) -> Iterator[Label]:
    hours = np.arange(int(window.start.timestamp()) // 3600, -(-int(window.end.timestamp()) // 3600) + 1)
    plan = schedule(seed, symbols, hours)
    for row, column in np.argwhere(plan.kind != NONE):
        hour = datetime.fromtimestamp(int(hours[column]) * 3600, UTC)
        starts_at = hour + timedelta(minutes=int(plan.start[row, column]))
        ends_at = starts_at + timedelta(minutes=int(plan.length[row, column]))
        if starts_at < window.end and ends_at > window.start:
            size = float(plan.size[row, column])
            yield Label(symbols[row], NAMES[plan.kind[row, column]], starts_at, ends_at, round(size, 6) or None)


def _sizes(seeded: Keys, hours: Ints, kind: npt.NDArray[np.int64]) -> Floats:
    share = 0.07 + 0.05 * uniform(seeded, hours, 4)
    up = uniform(seeded, hours, 5) < 0.5
    sizes = [np.where(up, share, -share), -share, 10 + 20 * uniform(seeded, hours, 6)]
    return np.select([kind == PRICE_SPIKE, kind == CRASH, kind == VOLUME_SHOCK], sizes, 0.0)
