"""What sources share that ask one question after another: a reply or a refusal for each, and when all are through.

A refusal (an unknown symbol, a market that the plan does not have) costs what was asked for and nothing else; it is
kept raw in quarantine. A vendor that refuses everything has failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any, Final, Generic, TypeVar

from include.errors import MisfitError, SourceError
from include.events import Event
from include.sources.base import Batch, Rejected

Ask = TypeVar("Ask")

_LINES: Final = 100_000  # more than any one answer has rows
_1970: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = datetime(1971, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


class AllRefusedError(SourceError):
    """Nothing came but refusals: to a pull the vendor has failed, of a past it just has nothing."""


class IncompleteError(MisfitError):
    """Something of what was asked for could not be had, as the replies say; all the rest is there."""


@dataclass(frozen=True, slots=True)
class Reply(Generic[Ask]):
    """What came for one question: decoded JSON with its bytes, or the reason why that is no answer.

    `number` counts the replies of one fetch from 1. `complete_until` is set on the last reply only: then all are in.
    With `unfinished` it is no reply: it says why the rest of what was asked for cannot be had.
    """

    ask: Ask
    number: int
    data: Any
    raw: bytes
    refusal: str = ""
    complete_until: datetime | None = None
    unfinished: str = ""

    def line(self, row: int) -> int:
        """The number of a row (from 1; 0 is the reply as a whole) within all that was fetched: 300042 is 3's row 42."""
        return self.number * _LINES + row


class Collected(Batch):
    """A batch that is filled row by row, each with its line."""

    def add(self, line: int, event: Event) -> None:
        self.events.append(event)
        self.lines.append(line)

    def reject(self, line: int, reason: str, raw: bytes, kind: str | None, symbol: str | None = None) -> None:
        self.rejected.append(Rejected(line, reason, raw, kind, symbol))

    def refuse(self, line: int, reason: str, raw: bytes, kind: str | None, symbol: str | None) -> None:
        """The vendor has nothing of what was asked for, and this is how it says so."""
        self.reject(line, reason, raw, kind, symbol)
        if symbol is not None:
            self.refused[symbol] = reason


def through(vendor: str, replies: Iterable[Reply[Ask]], until: datetime, advice: str) -> Iterator[Reply[Ask]]:
    """The same replies, the last good one saying up to when the source is now complete.

    If the vendor fails on the way, what came before is passed on first. Raises AllRefusedError if all were refusals.
    """
    waiting: Reply[Ask] | None = None
    refusals: list[str] = []
    try:
        for reply in replies:
            if reply.refusal or reply.unfinished:
                refusals += [reply.refusal] if reply.refusal else []
                yield reply
                continue
            if waiting is not None:
                yield waiting
            waiting = reply
    except SourceError:
        if waiting is not None:
            yield waiting
        raise
    if waiting is not None:
        yield replace(waiting, complete_until=until)
    elif refusals:
        first, others = refusals[0], len(refusals) - 1
        more = f" (and {others} more)" if others else ""
        raise AllRefusedError(f"{vendor}: refused all that was asked for: {first}{more}; {advice}")


def epoch(name: str, value: Any, per_second: int = 1) -> datetime:
    """The UTC time of an epoch stamp in seconds, or in 1/`per_second`s; digits below a microsecond are cut off.

    Raises ValueError naming the field and its value: what is no number, and what no market data can be dated (0 is how
    some vendors write "never").
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError(f"{name} is {value!r:.60}; it must be an epoch time")
    try:
        at = _1970 + timedelta(microseconds=int(value * 1_000_000 // per_second))
    except OverflowError:
        at = _1970
    if not _FIRST <= at < _LAST:
        raise ValueError(f"{name} is {value!r:.60}; no time between 1971 and 2200")
    return at
