"""When a file's rows are to have happened: at their own times, spaced evenly, or shifted so that they end now.

A first reading tells what there is. A candle is final once its source is complete up to its end, so the timing also
says how far the source is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from include.errors import ConfigError
from include.events import Event
from include.sources.base import Batch
from include.sources.files import RESOLUTIONS, Query, read

_MINUTE: Final = timedelta(minutes=1)
_1970: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ONCE: Final = datetime.min.replace(tzinfo=UTC)
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True)
class Scan:
    """What a first reading found: rows per symbol, and the file's own times.

    `in_order` says that no row is earlier than one before it, `in_step` that no row has fewer rows of its own symbol
    before it than one before it (so that evenly spaced rows are in order).
    """

    counts: Counter[str] = field(default_factory=Counter)
    first: datetime = _NEVER
    last: datetime = _ONCE
    in_order: bool = True
    in_step: bool = True
    rejected: int = 0

    @property
    def events(self) -> int:
        return self.counts.total()


def scan(query: Query) -> Scan:
    """Read the whole file once. Raises ConfigError if not one row can be used, and what `read` raises."""
    found, before, step, problem = Scan(), _ONCE, 0, ""
    for batch in read(query, received_at=_1970):
        for event in batch.events:
            at, count = event.event_time, found.counts[event.symbol]
            found.in_order &= at >= before
            found.in_step &= count >= step
            found.first, found.last = min(found.first, at), max(found.last, at)
            found.counts[event.symbol] = count + 1
            before, step = at, count
        found.rejected += len(batch.rejected)
        problem = problem or next((f"line {bad.line_number}: {bad.reason}" for bad in batch.rejected), "")
    if not found.events:
        raise ConfigError(f"{query.path}: none of its {found.rejected:,} rows can be used; {problem}")
    return found


class Timing:
    """Puts events, given in the file's order, at their new times. `first` and `last` are those of the whole file.

    `every` spaces the rows of each symbol, from the file's first time on; `until` shifts everything by whole minutes
    (bars: by whole bars) so that it ends by then. Raises ConfigError if bars would not fall on their own grid.
    """

    def __init__(self, query: Query, found: Scan, *, every: timedelta | None, until: datetime | None) -> None:
        bar = RESOLUTIONS[query.resolution] if query.kind == "bar" else timedelta()
        if every is not None and (every <= timedelta() or (bar and every % bar)):
            raise ConfigError(
                f"rows cannot be {every} apart" + (f"; bars of {query.resolution} need multiples of it" if bar else "")
            )
        span = (max(found.counts.values()) - 1) * every if every else found.last - found.first
        unit = bar or _MINUTE
        shift = (until - bar - span - found.first) // unit * unit if until else timedelta()
        self.first, self.last = found.first + shift, found.first + shift + span
        self._shift, self._every = shift, every
        self._ordered = found.in_step if every else found.in_order
        five = 5 * _MINUTE
        self._complete = max(_1970 + ((self.last - _1970) // five + 1) * five, self.last + bar)
        self._left = found.events
        self._done: Counter[str] = Counter()

    def placed(self, batch: Batch) -> Batch:
        """The batch with its events at their new times."""
        return Batch(list(self._placed(batch.events)), batch.lines, batch.rejected)

    def marked(self, batch: Batch) -> Batch:
        """The batch with its last event saying how far the source is complete, as far as that is sure.

        Rows in order: up to that row. The file's last row, in order or not: so far that all candles are final.
        """
        if not batch.events:
            return batch
        self._left -= len(batch.events)
        last = batch.events[-1]
        complete = self._complete if self._left <= 0 else last.event_time if self._ordered else None
        return Batch([*batch.events[:-1], replace(last, complete_until=complete)], batch.lines, batch.rejected)

    def _placed(self, events: list[Event]) -> Iterator[Event]:
        for event in events:
            if self._every is not None:
                at = self.first + self._done[event.symbol] * self._every
                self._done[event.symbol] += 1
                yield replace(event, event_time=at)
            else:
                yield replace(event, event_time=event.event_time + self._shift) if self._shift else event
