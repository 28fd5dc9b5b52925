"""Rows as a picture: a few numbers of one series, a minute apart; and what was found as short texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from include.detection.config import Detection
from include.detection.engine import columns_needed, evaluate, picked
from include.detection.findings import Finding
from include.detection.registry import RULES
from include.detection.rule import Reads, Rows

T0 = datetime(2026, 1, 2, 9, 0, tzinfo=UTC)
Column = Sequence[float | None]


def minute(number: int) -> datetime:
    return T0 + timedelta(minutes=number)


def only(rule: str, **given: object) -> Detection:
    """This rule alone, with these values."""
    return Detection.of(**{name: {"enabled": name == rule, **(given if name == rule else {})} for name in RULES})


def rows(
    symbol: str = "AAPL",
    *,
    source: str = "",
    at: Sequence[int] | None = None,
    known: int = 0,
    reads: Reads = "candles",
    **columns: Column,
) -> Rows:
    """One row per number, in the minutes `at` (else one after the other); the first `known` are history."""
    count = len(next(iter(columns.values())))
    minutes = range(count) if at is None else at
    numbers = {name: np.array(one, dtype=np.float64) for name, one in columns.items()}
    return Rows(
        [symbol] * count, [minute(n) for n in minutes], [source] * count, np.arange(count) == 0, numbers,
        np.arange(count) >= known, reads,
    )  # fmt: skip


def joined(*parts: Rows) -> Rows:
    """Several series as one batch."""
    return Rows(
        [one for part in parts for one in part.symbol],
        [one for part in parts for one in part.at],
        [one for part in parts for one in part.source],
        np.concatenate([part.is_first for part in parts]),
        {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns},
        np.concatenate([part.is_new for part in parts]),
        parts[0].reads,
    )


def between(whole: Rows, start: int, end: int) -> Rows:
    """The rows from place `start` up to `end`."""
    places = np.arange(len(whole))
    return picked(whole, (places >= start) & (places < end))


def find(
    given: Rows | Iterable[Rows],
    detection: Detection | None = None,
    asset_classes: Mapping[str, str] | None = None,
    models: Mapping[str, Any] | None = None,
) -> list[Finding]:
    """The findings; columns that a rule needs and the picture leaves out are not known."""
    chosen = detection or Detection()
    batches = [given] if isinstance(given, Rows) else list(given)
    whole = [_filled(one, columns_needed(chosen, one.reads)) for one in batches]
    return [one for part in evaluate(whole, chosen, asset_classes or {}, models) for one in part]


def said(found: Iterable[Finding]) -> list[str]:
    """The findings as `09:03 up`."""
    return [f"{one.candle_start:%H:%M} {one.direction}".strip() for one in found]


def _filled(given: Rows, needed: Sequence[str]) -> Rows:
    there = given.columns.keys() | {"missing", "spread"}
    default = {"close": 100.0}
    more = {name: np.full(len(given), default.get(name, np.nan)) for name in needed if name not in there}
    return Rows(
        given.symbol, given.at, given.source, given.is_first, {**more, **given.columns}, given.is_new, given.reads
    )
