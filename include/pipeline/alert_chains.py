"""Findings as alerts: one for each chain of findings of the same thing, in which neighbours are within the cooldown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

import psycopg

from include.alerts import Alert
from include.detection.findings import Finding
from include.detection.reading import Span
from include.warehouse.alerts import Written, insert_alerts, withdraw_alerts

Look = Callable[[Sequence[Span]], Iterator[list[Finding]]]


def to_alert(found: Finding) -> Alert:
    """The alert that a chain is, by its first finding."""
    return Alert(
        rule=found.rule,
        category="market",
        severity=found.severity,
        message=found.message,
        symbol=found.symbol,
        candle_start=found.candle_start,
        direction=found.direction,
        value=found.value,
        threshold=found.threshold,
        discriminator=found.source,
    )


def is_start(findings: Sequence[Finding]) -> list[bool]:
    """For each finding whether none of the same before it is within that one's cooldown."""
    last: dict[tuple[str, ...], Finding] = {}
    begins: dict[int, bool] = {}
    for place in sorted(range(len(findings)), key=lambda place: findings[place].candle_start):
        one = findings[place]
        key = (one.rule, one.scope, one.symbol, one.source, one.direction)
        then = last.get(key)
        begins[place] = then is None or one.candle_start - then.candle_start > timedelta(minutes=then.cooldown_minutes)
        last[key] = one
    return [begins[place] for place in range(len(findings))]


class Chains:
    """Writes the alerts of what was judged: with what is near enough to belong to the same chains."""

    def __init__(self, conn: psycopg.Connection, rules: Sequence[str], look: Look, cooldown: timedelta) -> None:
        self.conn, self.rules, self.look, self.cooldown = conn, rules, look, cooldown

    def write(
        self, judged: Sequence[Span], spans: Sequence[Span], found: Sequence[Finding], *, send_from: datetime | None
    ) -> tuple[Written, int]:
        """Write the alerts that begin in or right after what was judged; how many are new, how many were withdrawn."""
        bounds = {one.symbol: one.bound for one in spans if one.bound}
        ends = [(one.symbol, one.until, bounds.get(one.symbol)) for one in judged if one.until is not None]
        later = [
            Span(symbol, end, min(end + self.cooldown, bound or end + self.cooldown))
            for symbol, end, bound in ends
            if bound is None or bound > end
        ]
        near = [*found, *(one for part in self.look(later) for one in part)]
        symbols = {one.symbol for one in near}
        earlier = [
            Span(one.symbol, one.from_candle - self.cooldown, one.from_candle)
            for one in judged
            if one.symbol in symbols
        ]
        context = [one for part in self.look(earlier) for one in part]
        whole = list({
            (one.rule, one.symbol, one.source, one.candle_start): one for one in (*context, *near)
        }.values())  # fmt: skip
        written = [*judged, *later]
        alerts = [
            to_alert(one)
            for one, begins in zip(whole, is_start(whole), strict=True)
            if begins and any(_holds(span, one) for span in written if span.symbol == one.symbol)
        ]
        alerts.sort(key=lambda one: (one.candle_start, one.symbol, one.rule, one.discriminator))
        new = insert_alerts(self.conn, alerts, send_from=send_from)
        places = [(one.symbol, one.from_candle, one.until) for one in written]
        return new, withdraw_alerts(self.conn, self.rules, places, {one.key for one in alerts})


def _holds(span: Span, found: Finding) -> bool:
    return span.from_candle <= found.candle_start and (span.until is None or found.candle_start < span.until)
