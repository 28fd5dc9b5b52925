"""What the feed did not bring is fetched over REST: the time without a connection, and ids that are missing.

At the vendor's pace (its gate and budget), one thing after the other, up to bounds. What nobody can bring any more is
said: in the log, and as a failed outcome.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, Final

import psycopg

from include.errors import QuantStreamError, SourceError
from include.events import Event, Window, iso
from include.instruments import Instrument
from include.pipeline.collector.aside import aside
from include.pipeline.collector.intake import SETTLE_SECONDS, CatchUp, Intake, Missing
from include.settings import Settings
from include.sources import make
from include.sources.base import Batch, Rejected, Source
from include.warehouse.vendors import VendorGate

log = logging.getLogger(__name__)

LONGEST: Final = timedelta(minutes=15)  # of a gap; a backfill is for what is longer
MOST_TRADES: Final = 100_000
ATTEMPTS: Final = 4
_PATIENCE: Final = 60.0  # seconds to wait for room in the vendor's budget
_EDGE: Final = timedelta(seconds=1)  # clocks and rounded times at a window's ends

Say = Callable[[str, dict[str, object]], None]


@dataclass(slots=True)
class _Tries:
    count: int = 0
    next_at: float = 0.0


@dataclass(slots=True)
class Filling:
    """Fills one collector's gaps. `say` takes what could not be filled, with details for the outcome's row."""

    settings: Settings
    exchange: str
    intake: Intake
    say: Say
    pause_seconds: float = 2.0
    settle_seconds: float = SETTLE_SECONDS
    _tries: dict[object, _Tries] = field(default_factory=dict)

    async def step(self) -> bool:
        """Do the next thing that is due; False if there is none."""
        now, found = monotonic(), self.intake.missing()
        open_ones: set[object] = {id(one) for one in self.intake.catch_ups} | {_key(missing) for missing in found}
        self._tries = {key: tries for key, tries in self._tries.items() if key in open_ones}
        for one in list(self.intake.catch_ups):
            if one.ends is not None and self._due(id(one), now):
                await self._catch_up(one, one.ends)
                return True
        for missing in found:
            if missing.seconds >= self.settle_seconds and self._due(_key(missing), now):
                await self._fill(missing)
                return True
        return False

    async def _catch_up(self, one: CatchUp, ends: datetime) -> None:
        """Trades of all instruments, of a time without a connection."""
        begins = max(one.begins, ends - LONGEST)
        if begins > one.begins:
            self._lose(f"trades from {iso(one.begins)} to {iso(begins)} were not collected; a backfill brings them")
        window = Window(begins - _EDGE, ends + _EDGE)
        error = await self._fetch(window, list(self.intake.instruments.values()))
        if error is None or self._is_last(id(one)):
            if error is not None:
                self._lose(f"trades from {iso(begins)} to {iso(ends)} could not all be fetched: {error}")
            self.intake.caught_up(one)

    async def _fill(self, missing: Missing) -> None:
        """The ids that are missing of one instrument."""
        hole, symbol = missing.hole, self.intake.instruments[missing.vendor].symbol
        what = f"{symbol}: {hole.count:,} trades, ids {hole.first} to {hole.last}, about {iso(hole.begins)}"
        if self._tries[_key(missing)].count == 1:
            self.intake.counts.gaps += 1
            log.warning("%s: %s are missing and fetched", self.exchange, what)
        if hole.ends - hole.begins > LONGEST or hole.count > MOST_TRADES:
            self._give_up(missing, f"{what} are missing, too many to fetch; a backfill brings them")
            return
        window = Window(hole.begins - _EDGE, max(hole.ends, hole.begins) + _EDGE)
        error = await self._fetch(window, [self.intake.instruments[missing.vendor]], hole.first)
        still = next((one for one in self.intake.missing() if _key(one) == _key(missing)), None)
        if still is not None and still.hole.last <= hole.last and self._is_last(_key(missing)):
            self._give_up(still, f"{what} are missing and could not be fetched: {error or 'the vendor has them not'}")

    async def _fetch(self, window: Window, instruments: Sequence[Instrument], first: int | None = None) -> str | None:
        """Fetch the trades of a window (or from the id `first` on) and take in what is new.

        Returns the error's text, if not all came.
        """
        try:
            events, rejected, error = await aside(self._ask, window, instruments, first)
        except (QuantStreamError, psycopg.Error) as failed:
            return str(failed)
        self.intake.offer(events)
        for one in rejected:
            self.intake.reject(one.reason, one.raw)
        return error

    def _ask(
        self, window: Window, instruments: Sequence[Instrument], first: int | None
    ) -> tuple[list[Event], list[Rejected], str | None]:
        source = make(self.exchange, self.settings)
        events: list[Event] = []
        rejected: list[Rejected] = []
        with VendorGate(self.settings, self.exchange, source.budget, priority="history", patience=_PATIENCE) as gate:
            source.gate = gate
            try:
                for batch in _batches(source, window, instruments, first):
                    events += batch.events
                    rejected += batch.rejected
                    gate.confirm()  # a list without trades is an answer too: nothing may have happened
            except SourceError as failed:
                if not failed.is_counted:
                    gate.failed(str(failed))
                return events, rejected, str(failed)
        return events, rejected, None

    def _due(self, key: object, now: float) -> bool:
        tries = self._tries.setdefault(key, _Tries())
        if now < tries.next_at:
            return False
        tries.count += 1
        tries.next_at = now + self.pause_seconds * 2**tries.count
        return True

    def _is_last(self, key: object) -> bool:
        return self._tries[key].count >= ATTEMPTS

    def _give_up(self, missing: Missing, said: str) -> None:
        self.intake.give_up(missing)
        self._lose(said, symbol=self.intake.instruments[missing.vendor].symbol, count=missing.hole.count)

    def _lose(self, said: str, **detail: object) -> None:
        log.error("%s: %s", self.exchange, said)
        self.say(said, detail | {"at": iso(datetime.now(UTC))})


def _batches(
    source: Source[Any, Any], window: Window, instruments: Sequence[Instrument], first: int | None
) -> Iterator[Batch]:
    """Trades by the vendor's ids where it can be asked by them, by time elsewhere."""
    if first is None or not hasattr(source, "trades_from"):
        yield from source.fetch(window, instruments, "trade")
        return
    query = source.trades_from(instruments[0], first, window.end)
    for raw in source.extract(query):
        yield source.transform(query, raw, datetime.now(UTC))


def _key(missing: Missing) -> tuple[str, int]:
    return missing.vendor, missing.hole.first
