"""Alerts against labels: what was found, how late, and what was said for nothing.

An alert finds a label of its symbol if it opens in `[starts_at, ends_at + grace)`. One that opens later, but before
`ends_at + aftermath`, is neither right nor wrong: what a shock leaves behind (a price that comes back, volume that was
held up) is real. An alert that opens outside of all that is false.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from include.scoring.chains import Raised

MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Label:
    """What happened: to which symbol, of which kind, in `[starts_at, ends_at)` (UTC)."""

    symbol: str
    kind: str
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Around:
    """How long after a label's end an alert still finds it, and is still no false one."""

    grace: timedelta = timedelta(minutes=5)
    aftermath: timedelta = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Delays:
    """Minutes from a label's start to the end of the candle that opened the alert."""

    p50: float
    p95: float
    max: float


@dataclass(frozen=True, slots=True)
class Judged:
    """How some alerts did against the labels that they are meant for.

    `labels` are those, `found` as many of them. Of the alerts, `right` find a label of any kind, `after` open in the
    aftermath of one, `wrong` are false. None: not defined (nothing to find, nothing said).
    """

    labels: int
    found: int
    alerts: int
    right: int
    after: int
    wrong: int
    recall: float | None
    precision: float | None
    f1: float | None
    delays: Delays | None
    alerts_a_day: float
    wrong_per_instrument_day: float


def judge(
    alerts: Sequence[Raised],
    labels: Sequence[Label],
    *,
    kinds: Iterable[str] | None = None,
    instruments: int,
    days: float,
    around: Around | None = None,
) -> Judged:
    """Hold the alerts against the labels. `kinds`: what they are meant to find (None: all); any label makes one right.

    `instruments` and `days`: how much was looked at.
    """
    around = around or Around()
    meant = set(kinds) if kinds is not None else {label.kind for label in labels}
    wanted = [label for label in labels if label.kind in meant]
    late = delays_of(alerts, wanted, around)
    by_symbol = _by_symbol(labels)
    right = after = 0
    for alert in alerts:
        spans = by_symbol.get(alert.symbol, ())
        if any(one.starts_at <= alert.opened < one.ends_at + around.grace for one in spans):
            right += 1
        elif any(one.starts_at <= alert.opened < one.ends_at + around.aftermath for one in spans):
            after += 1
    wrong = len(alerts) - right - after
    recall = len(late) / len(wanted) if wanted else None
    precision = right / (right + wrong) if right + wrong else None
    return Judged(
        len(wanted), len(late), len(alerts), right, after, wrong, recall, precision, _f1(recall, precision),
        spread(late.values()), len(alerts) / days, wrong / instruments / days,
    )  # fmt: skip


def delays_of(alerts: Iterable[Raised], labels: Sequence[Label], around: Around) -> dict[int, float]:
    """For each label that was found, by its place in `labels`: after how many minutes, by the first alert."""
    opened: dict[str, list[datetime]] = {}
    for alert in alerts:
        opened.setdefault(alert.symbol, []).append(alert.opened)
    return _first_in(opened, labels, around.grace)


def told_after(alerts: Iterable[Raised], labels: Sequence[Label], grace: timedelta) -> dict[int, float]:
    """The same by any candle of an alert: whoever has the alert open sees it go on."""
    candles: dict[str, list[datetime]] = {}
    for alert in alerts:
        candles.setdefault(alert.symbol, []).extend(alert.candles)
    return _first_in(candles, labels, grace)


def spread(minutes: Iterable[float]) -> Delays | None:
    """The middle one, the 95th of a hundred and the longest; None of none."""
    import numpy as np

    found = list(minutes)
    if not found:
        return None
    p50, p95 = np.percentile(found, [50, 95])
    return Delays(round(float(p50), 2), round(float(p95), 2), max(found))


def _first_in(times: Mapping[str, list[datetime]], labels: Sequence[Label], grace: timedelta) -> dict[int, float]:
    ordered = {symbol: sorted(of_one) for symbol, of_one in times.items()}
    found: dict[int, float] = {}
    for place, label in enumerate(labels):
        of_one = ordered.get(label.symbol, [])
        at = bisect_left(of_one, label.starts_at)
        if at < len(of_one) and of_one[at] < label.ends_at + grace:
            found[place] = (of_one[at] + MINUTE - label.starts_at) / MINUTE
    return found


def _by_symbol(labels: Iterable[Label]) -> dict[str, list[Label]]:
    found: dict[str, list[Label]] = {}
    for label in labels:
        found.setdefault(label.symbol, []).append(label)
    return found


def _f1(recall: float | None, precision: float | None) -> float | None:
    if recall is None or precision is None:
        return None
    return 2 * recall * precision / (recall + precision) if recall + precision else 0.0
