"""What came in and is not on disk yet: rows made events, duplicates told, missing ids noticed, time watched.

No I/O. A `Listener` of the line; the outlet takes batches from it, the filling asks it for holes and hands in trades.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, Final

import orjson

from include.events import Event
from include.feeds.base import Frame, Row
from include.feeds.coverage import Coverage, Hole
from include.instruments import Instrument
from include.pipeline.collector.making import Maker
from include.sources.base import Rejected

MARGIN: Final = timedelta(seconds=2)  # trades of one instrument may come this much later than another's heartbeat
SETTLE_SECONDS: Final = 2.0  # an id that is missing for so long was not merely overtaken
QUOTE_SECONDS: Final = 1.0  # of the best bid and ask, one a second and instrument
MOST_PENDING: Final = 50_000  # events; a reader that finds so many waits
MOST_REJECTED: Final = 1_000  # raw frames kept for quarantine until the warehouse takes them


@dataclass(slots=True)
class Counts:
    """What happened since the last report."""

    rows: int = 0
    duplicates: int = 0
    sampled: int = 0
    filled: int = 0
    rejected: int = 0
    unkept: int = 0  # rejected, and not even kept for quarantine
    gaps: int = 0
    lost: int = 0
    reconnects: int = 0


@dataclass(frozen=True, slots=True)
class Missing:
    """A hole in the ids of one instrument, and how long it is known."""

    vendor: str
    hole: Hole
    seconds: float


@dataclass(slots=True)
class CatchUp:
    """A time in which no connection stood: trades from `begins` to when one stood again, of all instruments."""

    begins: datetime
    ends: datetime | None = None  # None: no connection stands yet


class Intake:
    """All that one collector has taken in. `instruments` by the vendor's id."""

    def __init__(self, exchange: str, instruments: Mapping[str, Instrument]) -> None:
        self.exchange, self.instruments = exchange, dict(instruments)
        self.maker = Maker(exchange)
        self.coverage = {vendor: Coverage() for vendor in self.instruments}
        self.counts = Counts()
        self.pending: list[Event] = []
        self.rejected: list[Rejected] = []
        self.refusals: dict[str, str] = {}
        self.catch_ups: list[CatchUp] = []
        self.clock: datetime | None = None  # the vendor's, as far as frames told it
        self.lag_seconds = 0.0  # how old the last frame was when it arrived
        self.is_connected = False
        self.connected_since: datetime | None = None
        self.trouble = "no connection was made yet"
        self.last_frame = monotonic()
        self.total = 0
        self.arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._told: dict[str, tuple[int, datetime]] = {}  # by heartbeats: id of the latest trade, and when they said so
        self._since: dict[tuple[str, int], float] = {}
        self._quoted: dict[str, float] = {}
        self._lines = 0
        self._is_whole = False  # the first catch-up is through

    async def frame(self, frame: Frame, received_at: datetime) -> None:
        """Take a frame in; wait while too much is pending."""
        self.last_frame = monotonic()
        for row in frame.rows:
            self._take(row, received_at)
        for reason, part in frame.rejected:
            self.reject(reason, orjson.dumps(part))
        if frame.clock is not None:
            clock = min(frame.clock, received_at)  # a clock ahead of ours proves nothing
            self.clock = clock if self.clock is None else max(clock, self.clock)
            self.lag_seconds = max(0.0, (received_at - frame.clock).total_seconds())
        for vendor, number in frame.last.items():
            if vendor in self.instruments:
                self._told[vendor] = (number, frame.clock or received_at)
        if len(self.pending) >= MOST_PENDING:
            self._room.clear()
            await self._room.wait()

    async def misfit(self, raw: bytes, reason: str, received_at: datetime) -> None:
        self.last_frame = monotonic()
        self.reject(reason, raw)

    def connected(self, *, unbroken: bool) -> None:
        """From now on the line brings everything; what came before, since none stood, is to be caught up."""
        now = datetime.now(UTC)
        self.counts.reconnects += self.connected_since is not None
        self.is_connected, self.connected_since = True, self.connected_since if unbroken else now
        for one in self.catch_ups:
            one.ends = one.ends or max(now, one.begins)

    def disconnected(self, why: str) -> None:
        self.is_connected, self.trouble = False, why
        self.refusals.clear()
        if all(one.ends for one in self.catch_ups):
            self.catch_ups.append(CatchUp((self.clock or self.connected_since or datetime.now(UTC)) - MARGIN))

    def refused(self, vendor: str, said: str) -> None:
        self.refusals[vendor] = said

    def begin(self, since: datetime) -> None:
        """Before the first connection: trades from `since` on are wanted."""
        self.catch_ups.append(CatchUp(since))

    def offer(self, events: Sequence[Event]) -> int:
        """Trades fetched over REST; returns how many were not there yet."""
        vendors = {one.symbol: vendor for vendor, one in self.instruments.items()}
        new = 0
        for event in events:
            if self.coverage[vendors[event.symbol]].add(int(event.vendor_id), event.event_time):
                self._append(replace(event, complete_until=None))
                new += 1
        self.counts.filled += new
        return new

    def missing(self) -> list[Missing]:
        """Holes in the ids, each with the seconds since it was first seen here, the oldest of each instrument first."""
        now, found = monotonic(), []
        for vendor, coverage in self.coverage.items():
            holes = coverage.holes()
            newest, told = coverage.newest, self._told.get(vendor)
            if newest is not None and told is not None and told[0] > newest.last:
                holes.append(Hole(newest.last + 1, told[0], newest.ends, max(told[1], newest.ends)))
            found += [(vendor, hole) for hole in holes]
        self._since = {
            (vendor, hole.first): self._since.get((vendor, hole.first), now) for vendor, hole in found
        }  # fmt: skip
        return [Missing(vendor, hole, now - self._since[vendor, hole.first]) for vendor, hole in found]

    def give_up(self, missing: Missing) -> None:
        """Nobody will bring these ids any more: they hold nothing back."""
        self.coverage[missing.vendor].close(missing.hole.last)
        told = self._told.get(missing.vendor)
        if told is not None and told[0] <= missing.hole.last:
            del self._told[missing.vendor]
        self.counts.lost += missing.hole.count

    def caught_up(self, one: CatchUp) -> None:
        """What this time had is taken in, or given up."""
        self.catch_ups.remove(one)
        self._is_whole = self._is_whole or not self.catch_ups

    def complete_until(self) -> datetime | None:
        """Up to when everything that happened is taken in: the vendor's clock, less a margin and what is missing."""
        if self.clock is None or not self._is_whole:
            return None
        begins = [one.begins for one in self.catch_ups] + [one.hole.begins for one in self.missing()]
        return min([self.clock - MARGIN, *begins])

    def resume_from(self) -> datetime | None:
        """From when on a process after this one has to catch up; None while nothing is known."""
        begins = [one.begins for one in self.catch_ups] + ([self.clock - MARGIN] if self.clock else [])
        return min(begins, default=None)

    def take_all(self) -> list[Event]:
        """All that is pending; the reader may go on."""
        events, self.pending = self.pending, []
        self.arrived.clear()
        self._room.set()
        return events

    def reject(self, reason: str, raw: bytes) -> None:
        """Keep what is no event for the quarantine."""
        self.counts.rejected += 1
        self._lines += 1
        if len(self.rejected) >= MOST_REJECTED:
            self.counts.unkept += 1
            return
        self.rejected.append(Rejected(self._lines, reason, raw))

    def keep_rejected(self, rejected: Rejected) -> None:
        """The same for what somebody else found unfit."""
        self.reject(rejected.reason, rejected.raw)

    def take_rejected(self) -> list[Rejected]:
        """What is to be quarantined."""
        rejected, self.rejected = self.rejected, []
        return rejected

    def spans(self) -> dict[str, list[list[Any]]]:
        """Which ids were seen, as JSON takes it: what `restore` understands after a restart."""
        return {
            vendor: [[s.first, s.last, s.begins.isoformat(), s.ends.isoformat()] for s in coverage.spans[-20:]]
            for vendor, coverage in self.coverage.items()
            if coverage.spans
        }

    def restore(self, spans: Mapping[str, Sequence[Sequence[Any]]]) -> None:
        """Go on where a process before this one stopped. Raises ValueError, TypeError for what `spans` never wrote."""
        for vendor, saved in spans.items():
            if vendor in self.coverage:
                for first, last, begins, ends in saved:
                    self.coverage[vendor].add(int(first), datetime.fromisoformat(begins))
                    span = self.coverage[vendor].spans[-1]
                    span.last, span.ends = max(int(last), span.last), datetime.fromisoformat(ends)

    def _take(self, row: Row, received_at: datetime) -> None:
        instrument = self.instruments.get(row.vendor)
        if instrument is None:
            self.reject(f"{row.vendor!r:.60} was not asked for", orjson.dumps(row.fields))
            return
        if row.stream == "quotes" and monotonic() - self._quoted.get(row.vendor, -QUOTE_SECONDS) < QUOTE_SECONDS:
            self.counts.sampled += 1
            return
        try:
            event = self.maker.event(row, instrument.symbol, received_at)
        except ValueError as error:
            self.reject(str(error), orjson.dumps(row.fields))
            return
        if event is None:
            self.counts.sampled += 1
            return
        if row.stream == "quotes":
            self._quoted[row.vendor] = monotonic()
        elif row.number is not None and not self.coverage[row.vendor].add(row.number, event.event_time):
            self.counts.duplicates += 1
            return
        self._append(event)

    def _append(self, event: Event) -> None:
        self.pending.append(event)
        self.counts.rows += 1
        self.total += 1
        self.arrived.set()
