"""Findings and alerts as pictures: a minute is a number, T0 is 09:00."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from include.detection.findings import Finding
from include.life.chains import Series, link, series_of
from include.life.following import Followed, follow
from include.life.standing import Standing

T0 = datetime(2026, 1, 2, 9, 0, tzinfo=UTC)
SERIES = Series("zscore", "instrument", "AAPL", "", "up")


def at(minute: int) -> datetime:
    return T0 + timedelta(minutes=minute)


def finding(minute: int, value: float = 3.5, **more: Any) -> Finding:
    """One of AAPL's z-score upwards with a limit of 3, that goes on for 5 minutes."""
    given: dict[str, Any] = {
        "rule": "zscore", "symbol": "AAPL", "direction": "up", "threshold": 3.0, "severity": "warning",
        "message": f"{value:g} at {minute}", "cooldown_minutes": 5,
    }  # fmt: skip
    return Finding(candle_start=at(minute), value=value, **(given | more))


def alerts_of(findings: Sequence[Finding], before: Sequence[Standing] = ()) -> Followed:
    """What follows from findings of one series."""
    series = series_of(findings[0]) if findings else SERIES
    return follow(series, [link(one) for one in findings], before, "equity")


def picture(alerts: Sequence[Standing]) -> list[str]:
    """`1-4 x3 new open`: first and last minute, number of findings, state, status."""
    return [
        f"{minute_of(one.candle_start)}-{minute_of(one.last_candle)} x{one.finding_count} {one.state} {one.status}"
        for one in sorted(alerts, key=lambda one: one.candle_start)
    ]


def minute_of(when: datetime) -> int:
    return int((when - T0) / timedelta(minutes=1))
