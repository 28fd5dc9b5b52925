"""Chains: findings of one series that are close together, summed up. An alert is what one chain says.

A series is (rule, scope, symbol, source, direction). Two neighbours belong to one chain if they are at most the
cooldown of the earlier one apart. A chain is a sum: it may be joined with later findings without its own at hand.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from include.alerts import SEVERITIES, Severity
from include.detection.findings import Finding, Measure


class Series(NamedTuple):
    """What findings have to share to belong together. `symbol` is a portfolio's name where `scope` is "portfolio"."""

    rule: str
    scope: str
    symbol: str
    source: str
    direction: str


@dataclass(frozen=True, slots=True)
class Chain:
    """Findings of one series in a row. Times are the starts of candles, UTC.

    `value`, `threshold` and `message` are those of the first finding, `latest_message` that of the last one, `peak_*`
    and `measures` of the one whose value is the largest against its threshold (of equal ones the earliest).
    `cooldown_minutes` is that of the last one, `severity` the highest.
    """

    first: datetime
    last: datetime
    count: int
    cooldown_minutes: int
    severity: Severity
    value: float | None
    threshold: float | None
    message: str
    latest_message: str
    peak_value: float | None
    peak_threshold: float | None
    peak_candle: datetime
    measures: tuple[Measure, ...] = ()

    @property
    def ends(self) -> datetime:
        """Up to this candle (its start, included) a further finding goes on with the chain."""
        return self.last + timedelta(minutes=self.cooldown_minutes)

    @property
    def strength(self) -> float:
        """How far the peak is out: 2 is twice its threshold. The plain value where there is no threshold."""
        return strength(self.peak_value, self.peak_threshold)


def strength(value: float | None, threshold: float | None) -> float:
    """How far a value is out, without its sign; 0 where it is not known."""
    if value is None or value != value:
        return 0.0
    return abs(value) / abs(threshold) if threshold else abs(value)


def series_of(found: Finding) -> Series:
    return Series(found.rule, found.scope, found.symbol, found.source, found.direction)


def link(found: Finding) -> Chain:
    """A chain of one finding."""
    return Chain(
        first=found.candle_start, last=found.candle_start, count=1, cooldown_minutes=found.cooldown_minutes,
        severity=found.severity, value=found.value, threshold=found.threshold, message=found.message,
        latest_message=found.message, peak_value=found.value, peak_threshold=found.threshold,
        peak_candle=found.candle_start, measures=found.measures,
    )  # fmt: skip


def join(earlier: Chain, later: Chain) -> Chain:
    """The two as one."""
    peak = later if later.strength > earlier.strength else earlier
    return replace(
        earlier,
        last=later.last,
        count=earlier.count + later.count,
        cooldown_minutes=later.cooldown_minutes,
        severity=higher(earlier.severity, later.severity),
        latest_message=later.latest_message,
        peak_value=peak.peak_value,
        peak_threshold=peak.peak_threshold,
        peak_candle=peak.peak_candle,
        measures=peak.measures,
    )


def higher(one: Severity, other: Severity | None) -> Severity:
    """The more severe of the two."""
    return other if other is not None and SEVERITIES.index(other) > SEVERITIES.index(one) else one


def chains(links: Iterable[Chain]) -> list[Chain]:
    """The longest chains that these links of one series make, by time. Links do not overlap; any order will do."""
    made: list[Chain] = []
    for one in sorted(links, key=lambda link: link.first):
        if made and one.first <= made[-1].ends:
            made[-1] = join(made[-1], one)
        else:
            made.append(one)
    return made
