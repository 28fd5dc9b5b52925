"""Candles as a picture: a few numbers of one symbol, a minute apart; and what was found as short texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from include.detection.config import Detection
from include.detection.engine import Finding, Row, evaluate

T0 = datetime(2026, 1, 2, 9, 0, tzinfo=UTC)


def minute(number: int) -> datetime:
    return T0 + timedelta(minutes=number)


def rows(symbol: str = "AAPL", *, context: bool = False, **columns: Sequence[float | None]) -> list[Row]:
    """One row per number; with `context` the first one is the candle before the new ones."""
    return [
        Row(symbol, minute(n), 100.0, **dict(zip(columns, values, strict=True)), is_new=n > 0 or not context)
        for n, values in enumerate(zip(*columns.values(), strict=True))
    ]


def find(
    candles: Iterable[Row], detection: Detection | None = None, asset_classes: dict[str, str] | None = None
) -> list[Finding]:
    return [one for part in evaluate([list(candles)], detection or Detection(), asset_classes or {}) for one in part]


def starts(found: Iterable[Finding]) -> list[str]:
    """The findings that become alerts, as `09:03 up`."""
    return [f"{one.candle_start:%H:%M} {one.direction}" for one in found if one.is_start]
