"""Where things stand on a chart, picture or terminal alike. Pure: times and prices in, places and words out.

A place is as wide as a candle. Time without candles stays empty places, as many as it lasted; a silence of more than
`LONGEST` (a night, a weekend, an outage) is cut to `CUT` places, and the cut is marked with how long it was.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final, Literal, NamedTuple

from include.charts.series import Alert, Series

LONGEST: Final = 12
CUT: Final = 3

Sign = Literal["BUY", "SELL", "anomaly"]
_EPOCH: Final = datetime(2000, 1, 3, tzinfo=UTC)  # a Monday
_DAY: Final = timedelta(days=1)
_NICE: Final = (
    *(timedelta(minutes=n) for n in (1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360, 720)),
    *(timedelta(days=n) for n in (1, 2, 7, 14, 28, 91, 182, 364, 728, 3640)),
)  # fmt: skip


class Cut(NamedTuple):
    """A silence that is not drawn as long as it was; `place` is its middle."""

    place: float
    length: timedelta

    @property
    def words(self) -> str:
        """`16 h 30 min`, `2 d 14 h`: the two greatest units."""
        minutes = self.length // timedelta(minutes=1)
        units = ((minutes // 1440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "min"))
        first = next((n for n, (count, _) in enumerate(units) if count), 2)
        return " ".join(f"{count} {unit}" for count, unit in units[first : first + 2] if count)


@dataclass(frozen=True, slots=True)
class Layout:
    """`places[n]` is where the n-th candle stands, `times[place]` what time that is (cuts aside)."""

    places: list[int]
    times: list[datetime]
    cuts: list[Cut]

    @property
    def width(self) -> int:
        """How many places there are."""
        return len(self.times)


class Tick(NamedTuple):
    """A label under a place: the time, and the date where `is_new_day`."""

    place: int
    time: datetime
    is_new_day: bool
    is_date: bool

    def words(self, between: str) -> str:
        """`12:30`; with the date where the day is new, `between` them."""
        if self.is_date:
            return f"{self.time:%Y-%m-%d}"
        return f"{self.time:%H:%M}{between}{self.time:%Y-%m-%d}" if self.is_new_day else f"{self.time:%H:%M}"


class Mark(NamedTuple):
    """What was detected at a candle. `number` counts those on the same side of it, from the candle outwards."""

    candle: int
    sign: Sign
    is_above: bool
    number: int


def arrange(starts: Sequence[datetime], step: timedelta) -> Layout:
    """Places for candles that start then (in order, at least one)."""
    places, times, cuts = [0], [starts[0]], []
    for before, start in pairwise(starts):
        missing = max(0, round((start - before) / step) - 1)
        empty = CUT if missing > LONGEST else missing
        if empty < missing:
            cuts.append(Cut(places[-1] + (empty + 1) / 2, missing * step))
        times += [*(before + n * step for n in range(1, empty + 1)), start]
        places.append(places[-1] + empty + 1)
    return Layout(places, times, cuts)


def ticks(layout: Layout, step: timedelta, most: int) -> list[Tick]:
    """About `most` labels, at round times and after cuts, not too close; under the first candle if no time is round."""
    found: list[int] = [0]
    nice = step
    for nice in (one for one in _NICE if one >= step):
        found = [place for place, time in enumerate(layout.times) if not (time - _EPOCH) % nice]
        if len(found) <= most:
            break
    apart = 0.6 * layout.width / most
    kept: list[int] = []
    for place in [*(round(cut.place + (CUT + 1) / 2) for cut in layout.cuts), *found] or [0]:
        if all(abs(place - other) >= apart for other in kept):
            kept.append(place)
    days = [layout.times[place].date() for place in sorted(kept)]
    return [
        Tick(place, layout.times[place], not n or day != days[n - 1], nice >= _DAY)
        for n, (place, day) in enumerate(zip(sorted(kept), days, strict=True))
    ]


def rises(series: Series) -> list[bool]:
    """Whether each candle is one that rose; one that ends where it began counts as its step from the one before."""
    opens, closes = series.candles["open"].tolist(), series.candles["close"].tolist()
    before = [opens[0], *closes]
    return [
        close > opened or (close == opened >= last) for opened, close, last in zip(opens, closes, before, strict=False)
    ]


def marks(series: Series) -> list[Mark]:
    """The alerts, each at the candle that its minute lies in; equal ones of a candle are one mark.

    Alerts of minutes without a candle here (of another source, say) have none.
    """
    starts, seen, sides = series.starts, set(), Counter[tuple[int, bool]]()
    found: list[Mark] = []
    for alert in series.alerts:
        candle = bisect_right(starts, alert.candle_start) - 1
        if candle < 0 or alert.candle_start >= starts[candle] + series.step:
            continue
        sign, is_above = _sign(alert)
        if (candle, sign, is_above) not in seen:
            seen.add((candle, sign, is_above))
            found.append(Mark(candle, sign, is_above, sides[candle, is_above]))
            sides[candle, is_above] += 1
    return found


def decimals(low: float, high: float) -> int:
    """How many decimals tell prices of this range apart."""
    span = (high - low) or abs(high) or 1.0
    return min(12, max(2 if span >= 0.01 else 0, 2 - math.floor(math.log10(span))))


def short(number: float) -> str:
    """`950`, `12.3k`, `4.56M`: three digits, for volumes."""
    if number == 0 or not math.isfinite(number):
        return "0"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g}{unit}" if abs(number) < 1e12 else f"{number:.3g}"
    return f"{number:.3g}"


def _sign(alert: Alert) -> tuple[Sign, bool]:
    if alert.direction == "BUY":
        return "BUY", False
    if alert.direction == "SELL":
        return "SELL", True
    return "anomaly", alert.direction != "down"
