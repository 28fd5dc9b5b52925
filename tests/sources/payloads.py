"""What each recorded answer of a vendor becomes: rows of a table that tests check and docs/payloads.md shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from include.sources.base import Batch


@dataclass(frozen=True, slots=True)
class Payload:
    """One recorded file and what it must become.

    `outcome` is `summary(batch)` of what `parse` makes of the file's path, or the error's text that it must raise with.
    """

    file: str  # below ../shared/data/payloads
    asked: str  # the call it answers, for a reader: "GET /v8/finance/chart/AAPL?interval=1m"
    parse: Callable[[Path], Batch]
    outcome: str
    error: type[Exception] | None = None


def summary(batch: Batch) -> str:
    """`390 bars, 1 quote; 1 rejected: row 7 has no price` (each reason once, with its count if above one)."""
    kinds = Counter(event.kind for event in batch.events)
    said = ", ".join(f"{n:,} {kind}{'s' if n > 1 else ''}" for kind, n in sorted(kinds.items())) or "no event"
    reasons = Counter(rejected.reason for rejected in batch.rejected)
    if reasons:
        said += f"; {len(batch.rejected)} rejected: " + "; ".join(
            reason + (f" ({n} times)" if n > 1 else "") for reason, n in reasons.items()
        )
    return said
