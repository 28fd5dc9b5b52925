"""A source's quotes of a window -> Kinesis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg

from include.aws import client
from include.calendars import open_instruments
from include.errors import ConfigError, MisfitError, RefusedError, SourceError
from include.events import Window, iso
from include.instruments import Instrument, known_instruments
from include.pipeline.sending import send
from include.settings import Settings
from include.sources import ALWAYS_OPEN, NAMES, make
from include.sources.base import Rejected, Source
from include.sources.delays import delay
from include.sources.shocks import labels
from include.warehouse.db import connect
from include.warehouse.leases import lease
from include.warehouse.outcomes import Attempt, attempt
from include.warehouse.quarantine import quarantine
from include.warehouse.vendors import VendorGate

_MOST_NAMED: Final = 50
_MOST_KEPT: Final = 1024 * 1024  # bytes of an answer that does not fit at all
# Shares of the cadence: those who wait for this pull to end must be done themselves before the next one begins.
_WHOLE: Final = 0.5
_WAITING: Final = 0.25


@dataclass(frozen=True, slots=True)
class PullReport:
    """What one pull brought. `missing` are the symbols asked for that nothing came of.

    `closed`: so many more instruments were not asked for, because their exchanges are.
    """

    source: str
    window: Window
    asked: int
    events: int
    rejected: int
    missing: tuple[str, ...]
    closed: int = 0

    def __str__(self) -> str:
        if not self.asked:
            return f"{self.source}: nothing asked, the markets of all {self.closed} are closed"
        more = f", {self.rejected} rejected" if self.rejected else ""
        more += f", nothing of {len(self.missing)}" if self.missing else ""
        more += f", {self.closed} closed" if self.closed else ""
        return f"{self.source}: {self.events} events of {self.asked} instruments{more}"


def pull(settings: Settings, source: str, window: Window, *, run_id: str | None = None) -> PullReport:
    """Ask the source for the window and put what it says into the stream, answer by answer.

    The window is the interval that just ended; only instruments whose exchange was open in it are asked for (a vendor
    that is behind the market: open in it, or so long before).

    What of an answer is no event, or is too large for the stream, goes to quarantine; so does an answer that does not
    fit at all. Every call passes the vendor's gate. Safe to repeat: equal events are dropped later.

    Raises LeaseHeldError if this source is being pulled, ConfigError for a source that does not exist or has no
    instruments, SourceError if the vendor fails (what it answered before is sent),
    BudgetSpentError or CircuitOpenError if it is not to be asked now, StreamError if the stream does not take all.
    """
    if source not in NAMES:
        raise ConfigError(f"there is no source {source!r}; there are {', '.join(NAMES)}")
    with (
        connect(settings) as conn,
        attempt(conn, "pull", source=source, window=window, run_id=run_id) as this,
        lease(conn, f"pull {source}", seconds=settings.lease_seconds) as held,
    ):
        known = [one for one in known_instruments(conn, settings) if source in one.ids]
        if not known:
            raise ConfigError(f"no instrument has an id for {source}; give some in {settings.instruments_file}")
        instruments = known
        if source not in ALWAYS_OPEN:
            asked_about = Window(window.start - delay(source, settings), window.end)
            instruments = open_instruments(known, asked_about, extended=settings.extended_hours)
        closed = len(known) - len(instruments)
        this.detail |= {"asked": len(instruments)} | ({"closed": closed} if closed else {})
        work = _Pull(settings, conn, source, window, this)
        if instruments:
            try:
                with held.kept():
                    work.run(instruments)
            finally:
                work.keep()
        if source == "simulator":
            write_labels(conn, settings.simulator_seed, instruments, window)
        missing = tuple(one.symbol for one in instruments if one.symbol not in work.seen)
        this.detail |= {"missing": missing[:_MOST_NAMED]}
    return PullReport(source, window, len(instruments), work.events, len(work.rejected), missing, closed)


@dataclass(slots=True)
class _Pull:
    """One pull at work, and what it has brought so far."""

    settings: Settings
    conn: psycopg.Connection
    source: str
    window: Window
    outcome: Attempt
    events: int = 0
    seen: set[str] = field(default_factory=set)
    rejected: list[Rejected] = field(default_factory=list)

    def run(self, instruments: Sequence[Instrument]) -> None:
        """Ask and send, answer by answer. Raises what `pull` raises."""
        vendor = make(self.source, self.settings)
        try:
            with self._gate(vendor) as gate:
                vendor.gate = gate
                try:
                    self._send(vendor, gate, instruments)
                except SourceError as error:
                    if not error.is_counted:  # an answer came, but it was not what the vendor promises
                        gate.failed(str(error))
                    raise
        except RefusedError as error:
            self.outcome.detail |= error.detail
            raise
        except MisfitError as error:
            line = 1 + max((one.line_number for one in self.rejected), default=0)
            self.rejected.append(Rejected(line, str(error), error.raw[:_MOST_KEPT]))
            raise

    def keep(self) -> None:
        """However it ended: what was rejected goes to quarantine, and the outcome says how far it came."""
        self.outcome.row_count = self.events
        self.outcome.detail |= {"rejected": len(self.rejected)}
        origin = f"{self.source}:{iso(self.window.start)}/{iso(self.window.end)}"
        quarantine(self.conn, origin, self.source, self.rejected)

    def _send(self, vendor: Source[Any, Any], gate: VendorGate, instruments: Sequence[Instrument]) -> None:
        kinesis = client(self.settings, "kinesis")
        for batch in vendor.fetch(self.window, instruments):
            self.rejected += batch.rejected
            sent = send(kinesis, self.settings.stream, batch)
            self.rejected += sent.oversize
            self.events += sent.count
            self.seen |= {event.symbol for event in batch.events}
            if batch.events:
                gate.confirm()
        if self.rejected and not self.events:
            more = f" (and {len(self.rejected) - 1} more)" if len(self.rejected) > 1 else ""
            said = f"{self.source}: nothing of what it answered is an event: {self.rejected[0].reason}{more}"
            raise SourceError(f"{said}; the answers are in quarantine")

    def _gate(self, vendor: Source[Any, Any]) -> VendorGate:
        pace = self.settings.cadence_seconds
        return VendorGate(self.settings, self.source, vendor.budget, patience=pace * _WAITING, seconds=pace * _WHOLE)


def write_labels(conn: psycopg.Connection, seed: int, instruments: Sequence[Instrument], window: Window) -> None:
    """Note what the simulator did on purpose, so that detection can be scored."""
    symbols = {one.ids["simulator"]: one.symbol for one in instruments}
    with conn.cursor() as cursor:
        cursor.executemany(
            "insert into ops.simulator_labels (seed, symbol, shock, starts_at, ends_at, size) "
            "values (%s, %s, %s, %s, %s, %s) on conflict do nothing",
            [
                (seed, symbols[label.symbol], label.shock, label.starts_at, label.ends_at, label.size)
                for label in labels(seed, list(symbols), window)
            ],
        )
