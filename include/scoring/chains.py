"""Findings as alerts: what a person gets. A chain of findings of the same thing is one alert."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol


class Found(Protocol):
    """What is needed of a finding (`include.detection.findings.Finding`)."""

    @property
    def rule(self) -> str: ...
    @property
    def scope(self) -> str: ...
    @property
    def symbol(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def direction(self) -> str: ...
    @property
    def candle_start(self) -> datetime: ...
    @property
    def cooldown_minutes(self) -> int: ...
    @property
    def severity(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Raised:
    """One alert: of which rule and symbol, and the candles (their starts, UTC) that belong to it, the first one first.

    `severity` is that of the first.
    """

    rule: str
    symbol: str
    direction: str
    severity: str
    candles: tuple[datetime, ...]

    @property
    def opened(self) -> datetime:
        return self.candles[0]


def chain(findings: Iterable[Found]) -> list[Raised]:
    """One alert for each maximal chain of findings of one (rule, scope, symbol, source, direction).

    Neighbours in it are at most the cooldown of the earlier one apart. By opening and symbol.
    """
    series: dict[tuple[str, ...], list[Found]] = {}
    for one in findings:
        series.setdefault((one.rule, one.scope, one.symbol, one.source, one.direction), []).append(one)
    raised: list[Raised] = []
    for of_one in series.values():
        links: list[Found] = []
        for one in sorted(of_one, key=lambda found: found.candle_start):
            if links and one.candle_start - links[-1].candle_start > timedelta(minutes=links[-1].cooldown_minutes):
                raised.append(_alert(links))
                links = []
            links.append(one)
        raised.append(_alert(links))
    return sorted(raised, key=lambda alert: (alert.opened, alert.symbol, alert.rule, alert.direction))


def _alert(links: Sequence[Found]) -> Raised:
    first = links[0]
    candles = tuple(one.candle_start for one in links)
    return Raised(first.rule, first.symbol, first.direction, first.severity, candles)
