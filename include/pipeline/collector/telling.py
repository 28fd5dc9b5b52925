"""How a collector does: its progress each second, a report each minute, what is wrong, and when somebody must know."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Final

from include.alerts import Alert
from include.events import Window, iso
from include.feeds.line import Line, Timing
from include.pipeline.collector.aside import aside
from include.pipeline.collector.intake import SETTLE_SECONDS, Counts, Intake
from include.pipeline.collector.outlet import FLUSH_SECONDS, Outlet
from include.pipeline.collector.reporting import Reporter, Said, Tenure
from include.stream.spool import MAX_BYTES

log = logging.getLogger(__name__)

_BEHIND_SECONDS: Final = 60.0  # a feed that far behind is a problem


@dataclass(frozen=True, slots=True)
class Tuning:
    """Seconds, and the spool's size.

    `stop`: for emptying the spool at the end; what is left is sent at the next start. `silent`: without a frame for so
    long somebody is alerted.
    """

    line: Timing = field(default_factory=Timing)
    flush: float = FLUSH_SECONDS
    settle: float = SETTLE_SECONDS
    fill_pause: float = 2.0
    stop: float = 15.0
    report: float = 60.0
    marks: float = 5.0
    silent: float = 300.0
    spool_bytes: int = MAX_BYTES


@dataclass(frozen=True, slots=True)
class Progress:
    """How a collector does right now.

    `pending` events are not on disk yet, `spooled` ones not in the stream. `lag_seconds` is the age that the last frame
    had when it arrived.
    """

    exchange: str
    is_connected: bool
    rows: int
    rows_per_second: float
    pending: int
    spooled: int
    lag_seconds: float
    trouble: str


@dataclass(slots=True)
class Teller:
    """Speaks for one collector. `totals` count from its start, `intake.counts` since the last report."""

    exchange: str
    intake: Intake
    outlet: Outlet
    line: Line
    reporter: Reporter
    tuning: Tuning
    on_progress: Callable[[Progress], None] | None
    begins: datetime
    totals: Counts = field(default_factory=Counts)
    _alerted: set[str] = field(default_factory=set)

    async def run(self, tenure: Tenure, lease_seconds: int) -> None:
        """Tell, and keep the lease, for ever. Raises FencedError or LeaseHeldError if another collector has it."""
        kept = reported = monotonic()
        seen = self.intake.total
        while True:
            asked = monotonic()
            await asyncio.sleep(min(1.0, self.tuning.report))
            now = monotonic()
            if self.on_progress is not None:
                self.on_progress(self._progress((self.intake.total - seen) / (now - asked)))
            seen = self.intake.total
            self._watch_silence(now)
            if now - reported >= self.tuning.report:
                reported = now
                self.report(datetime.now(UTC))
            await self.write()
            if now - kept >= lease_seconds / 3:
                kept = now
                await aside(tenure.keep)

    def report(self, now: datetime) -> None:
        """The outcome of the time since the last one; what is wrong with it is its error."""
        counts, self.intake.counts = self.intake.counts, Counts()
        for one in fields(Counts):
            setattr(self.totals, one.name, getattr(self.totals, one.name) + getattr(counts, one.name))
        window = Window(self.begins, max(now, self.begins + timedelta(milliseconds=1)))
        self.begins = window.end
        until, trouble = self.outlet.sent_until, self.trouble()
        detail: dict[str, object] = {
            one.name: getattr(counts, one.name) for one in fields(Counts) if one.name != "rows"
        }
        detail |= {"spooled": self.outlet.waiting, "lag_seconds": round(self.intake.lag_seconds, 3)}
        detail |= {"symbols": len(self.intake.instruments), "complete_until": iso(until) if until else None}
        said = Said(not trouble, window, counts.rows, trouble or None, detail)
        log.info("%s: %s", self.exchange, _line(said))
        self.reporter.say(said)

    async def write(self) -> None:
        """Bring to the warehouse what is to be said and what is to be quarantined; what it does not take is kept."""
        self.reporter.reject(self.intake.take_rejected())
        if self.reporter.has_news:
            await aside(self.reporter.write)

    def trouble(self) -> str:
        """What is wrong right now, in a sentence; empty if nothing is."""
        intake, outlet, found = self.intake, self.outlet, list[str]()
        silent = monotonic() - intake.last_frame
        if not intake.is_connected and not outlet.stopping.is_set():
            found.append(f"no connection: {self.line.trouble or intake.trouble}")
        elif silent > self.tuning.report:
            found.append(f"no frame for {silent:.0f} s")
        found += [f"{vendor or 'the feed'} was refused: {said}" for vendor, said in intake.refusals.items()]
        if outlet.stuck_since is not None:
            found.append(f"the stream takes nothing for {outlet.stuck_seconds:.0f} s: {outlet.stream_trouble}")
        if outlet.spool_trouble:
            found.append(outlet.spool_trouble)
        if intake.lag_seconds > _BEHIND_SECONDS:
            found.append(f"the feed is {intake.lag_seconds:.0f} s behind")
        return "; ".join(found)

    def lost(self, said: str, detail: dict[str, object]) -> None:
        """Something will never come; a row of its own."""
        self.reporter.say(Said(False, error=said, detail=detail))

    def alert(self, rule: str, message: str, since: datetime) -> None:
        """An operations alert, once for each time that it begins to hold (`over` ends it)."""
        if rule in self._alerted:
            return
        self._alerted.add(rule)
        log.error("%s", message)
        alert = Alert(rule, "operations", "critical", message, discriminator=f"{self.exchange} {iso(since)}")
        self.reporter.say(Said(False, error=message, alert=alert))

    def over(self, rule: str) -> None:
        """It does not hold any more."""
        self._alerted.discard(rule)

    def stopping(self) -> None:
        """Show that the end was asked for; it may take until the stream has what waits."""
        if self.on_progress is not None:
            self.on_progress(replace(self._progress(0.0), trouble="stopping: what waits is sent, or stays on disk"))

    def _watch_silence(self, now: float) -> None:
        silent = now - self.intake.last_frame
        if silent < self.tuning.silent:
            self.over("collector_silent")
            return
        since = datetime.now(UTC) - timedelta(seconds=silent)
        self.alert("collector_silent", f"{self.exchange} sends nothing since {iso(since)}: {self.trouble()}", since)

    def _progress(self, rows_per_second: float) -> Progress:
        intake, outlet = self.intake, self.outlet
        return Progress(
            self.exchange, intake.is_connected, intake.total, rows_per_second, len(intake.pending), outlet.waiting,
            intake.lag_seconds, self.trouble(),
        )  # fmt: skip


def _line(said: Said) -> str:
    """A minute as `rows=1200 lag_seconds=0.1 ...`, for the log."""
    named = {**(said.detail or {}), "error": said.error}
    told = [f"{name}={value}" for name, value in named.items() if value not in (None, 0, "")]
    return " ".join([f"rows={said.rows or 0}", *told])
