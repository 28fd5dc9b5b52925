"""An exchange's feed -> Kinesis, for as long as it is let: trades as they happen, each once, none missing.

    line (WebSocket) -> intake -> spool (disk) -> Kinesis
                          ^ filling (REST): what the line did not bring

One event loop; what blocks (disk, AWS, REST, the warehouse) runs beside it. Nothing is taken for safe before it is on
disk, and nothing leaves the disk before the stream has taken it.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import orjson

from include.aws import client
from include.errors import ConfigError
from include.events import iso
from include.feeds import NAMES, make
from include.feeds.base import STREAMS, Feed, Stream
from include.feeds.line import Line
from include.instruments import Instrument, known_instruments
from include.pipeline.collector.aside import aside
from include.pipeline.collector.filling import LONGEST, Filling
from include.pipeline.collector.intake import Counts, Intake
from include.pipeline.collector.outlet import Outlet
from include.pipeline.collector.reporting import Reporter, Said, Tenure
from include.pipeline.collector.telling import Progress, Teller, Tuning
from include.settings import PREFIX, Settings
from include.stream.spool import Spool
from include.warehouse.db import connect

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CollectReport:
    """What a collector did, from its start to its end. `rows` are events taken in, `sent` records the stream took.

    `left` are on disk for the next start, because of `trouble`; `unwritten` did not come to disk, and the next start
    fetches them. `lost` in the counts are trades known to exist that nobody could bring.
    """

    exchange: str
    rows: int
    sent: int
    left: int
    counts: Counts
    unwritten: int = 0
    trouble: str = ""

    def __str__(self) -> str:
        named = ("filled", "duplicates", "rejected", "gaps", "lost", "reconnects")
        more = "".join(f", {count:,} {name}" for name in named if (count := getattr(self.counts, name)))
        left = f", {self.left:,} left on disk for the next start" if self.left else ""
        left += f", {self.unwritten:,} not on disk, which the next start fetches" if self.unwritten else ""
        why = f"\n{self.trouble}" if self.trouble else ""
        return f"{self.exchange}: {self.rows:,} events taken in, {self.sent:,} sent{left}{more}{why}"


def collect(
    settings: Settings,
    exchange: str,
    *,
    symbols: Sequence[str] = (),
    streams: Sequence[Stream] = ("trades",),
    on_progress: Callable[[Progress], None] | None = None,
    tuning: Tuning | None = None,
) -> CollectReport:
    """Collect until SIGTERM or SIGINT; then unsubscribe, send what is there, and say what was done.

    `symbols`: those of the instruments (none: all that have an id there). Raises ConfigError for what cannot be
    collected, NotRunningError if the warehouse does not answer at the start, LeaseHeldError or StreamError if another
    collector of this exchange runs, FencedError if one took over.
    """
    with connect(settings) as conn:
        instruments = wanted(known_instruments(conn, settings), exchange, symbols, settings)
    collector = Collector(settings, exchange, instruments, streams, on_progress=on_progress, tuning=tuning)

    async def until_signalled() -> CollectReport:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        return await collector.run(stop)

    return asyncio.run(until_signalled())


def wanted(
    instruments: Sequence[Instrument], exchange: str, symbols: Sequence[str], settings: Settings
) -> list[Instrument]:
    """The instruments to collect. Raises ConfigError listing the symbols that the exchange does not have."""
    if exchange not in NAMES:
        raise ConfigError(f"there is no feed of {exchange!r}; there are {', '.join(NAMES)}")
    has = {one.symbol: one for one in instruments if exchange in one.ids}
    if not has:
        raise ConfigError(f"no instrument has an id for {exchange}; give some in {settings.instruments_file}")
    if unknown := [symbol for symbol in symbols if symbol not in has]:
        raise ConfigError(f"{exchange} has no id for {', '.join(unknown)}; it has {', '.join(has)}")
    return [has[symbol] for symbol in dict.fromkeys(symbols)] if symbols else list(has.values())


def spool_folder(settings: Settings, exchange: str) -> Path:
    """Where a collector keeps what the stream has not taken."""
    return settings.home / "collect" / exchange


class Collector:
    """One exchange's collector. `run` is its whole life.

    Raises ConfigError for streams that its feed does not have, and for an address that is none.
    """

    def __init__(
        self,
        settings: Settings,
        exchange: str,
        instruments: Sequence[Instrument],
        streams: Sequence[Stream] = ("trades",),
        *,
        on_progress: Callable[[Progress], None] | None = None,
        tuning: Tuning | None = None,
    ) -> None:
        self.settings, self.exchange, self.on_progress = settings, exchange, on_progress
        self.tuning = tuning or Tuning()
        self.instruments = {one.ids[exchange]: one for one in instruments}
        self.feed = _feed(exchange, list(self.instruments), streams)
        self.url = _address(settings, exchange)
        self.folder = spool_folder(settings, exchange)
        self._marked_at = 0.0
        self._ends: float | None = None  # when the last word must be on disk
        self._unwritten = 0  # events that were taken in and did not come to disk

    async def run(self, stop: asyncio.Event) -> CollectReport:
        """Collect until `stop`. Raises as `collect` does."""
        tenure = Tenure(self.settings, self.exchange)
        await aside(tenure.take)
        try:
            with Spool(self.folder, max_bytes=self.tuning.spool_bytes) as spool:
                self._arrange(spool, datetime.now(UTC))
                return await self._work(stop, tenure)
        finally:
            await aside(tenure.release)

    def _arrange(self, spool: Spool, now: datetime) -> None:
        settings, exchange, tuning = self.settings, self.exchange, self.tuning
        self.intake = Intake(exchange, self.instruments)
        self.outlet = Outlet(client(settings, "kinesis"), settings.stream, spool, self.intake.keep_rejected)
        self.line = Line(self.feed, self.url, self.intake, tuning.line)
        reporter = Reporter(settings, exchange, f"collect-{iso(now)}", now)
        for damage in spool.damage:
            reporter.say(Said(False, error=damage))
        self.teller = Teller(
            exchange, self.intake, self.outlet, self.line, reporter, tuning, self.on_progress, now
        )  # fmt: skip
        self.filling = Filling(settings, exchange, self.intake, self.teller.lost, tuning.fill_pause, tuning.settle)
        symbols = ", ".join(one.symbol for one in self.instruments.values())
        waiting = f"; {spool.count:,} events wait in {self.folder}" if spool.count else ""
        log.info("%s: %s from %s into the stream %s%s", exchange, symbols, self.url, settings.stream, waiting)
        self._resume(now)

    async def _work(self, stop: asyncio.Event, tenure: Tenure) -> CollectReport:
        hang_up = asyncio.Event()
        line = asyncio.create_task(self.line.run(hang_up), name="line")
        writing = asyncio.create_task(self._write(), name="writing")
        draining = asyncio.create_task(self.outlet.drain(), name="draining")
        filling = asyncio.create_task(self._fill(), name="filling")
        telling = asyncio.create_task(self.teller.run(tenure, self.settings.lease_seconds), name="telling")
        stopped = asyncio.create_task(stop.wait(), name="stop")
        try:
            everything = [stopped, line, writing, draining, filling, telling]
            await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
        finally:
            log.info("%s: stopping", self.exchange)
            self.teller.stopping()
            self._ends = monotonic() + self.tuning.stop
            self.outlet.stopping.set()
            hang_up.set()
            failures = await _ended([stopped, filling, telling], cancel=True) + await _ended([line])
            self.intake.arrived.set()  # the writing sees that it is over
            failures += await _ended([writing])
            await self._flush()
            while self._is_leaving(draining):
                await asyncio.sleep(0.02)
            failures += await _ended([draining], cancel=True)
            if self._unwritten:
                said = f"did not come to disk; the next start fetches them: {self.outlet.spool_trouble}"
                self.teller.lost(f"{self._unwritten:,} events {said}", {})
            else:
                await aside(self._write_marks, self._marks())
            self.teller.report(datetime.now(UTC))
            await self.teller.write()
        if failures:
            raise failures[0]
        outlet = self.outlet
        trouble = (outlet.stream_trouble if outlet.waiting else "") or (outlet.spool_trouble if self._unwritten else "")
        return CollectReport(
            self.exchange, self.intake.total, outlet.sent, outlet.waiting, self.teller.totals, self._unwritten, trouble
        )

    def _is_leaving(self, draining: asyncio.Task[None]) -> bool:
        """Whether it is worth waiting for what is on disk; with a stream that is away it is not for long."""
        in_time = self._ends is not None and monotonic() < self._ends
        away = self.outlet.stuck_seconds > self.tuning.stop / 3
        return self.outlet.waiting > 0 and in_time and not away and not draining.done()

    async def _write(self) -> None:
        """Batch after batch to disk, until `_ends` is set; with no room there, events wait here, then the reader."""
        while self._ends is None or self.intake.pending:
            await self.intake.arrived.wait()
            if self._ends is None:
                await asyncio.sleep(self.tuning.flush)
            await self._flush()

    async def _flush(self) -> None:
        """All that is pending to disk, and now and then which ids that were."""
        marks = self._marks() if monotonic() - self._marked_at >= self.tuning.marks else None
        until, events = self.intake.complete_until(), self.intake.take_all()
        since = datetime.now(UTC)
        while events := await self.outlet.write(events, until) if events else []:
            said = self.outlet.spool_trouble
            self.teller.alert("spool_full", f"{self.exchange}: {said}", since)
            if self._ends is not None and monotonic() >= self._ends:
                self._unwritten += len(events)  # the next start fetches them: the marks stay where they are
                return
            await asyncio.sleep(0.2)
        self.teller.over("spool_full")
        if marks is not None and not self._unwritten:
            self._marked_at = monotonic()
            await aside(self._write_marks, marks)

    async def _fill(self) -> None:
        """Fill gaps while a connection stands."""
        while True:
            if not (self.intake.is_connected and await self.filling.step()):
                await asyncio.sleep(min(0.25, self.tuning.settle))

    def _marks(self) -> dict[str, Any] | None:
        """Up to where everything was taken in; what a process after this one goes on from."""
        until = self.intake.resume_from()
        return None if until is None else {"until": iso(until), "spans": self.intake.spans()}

    def _write_marks(self, marks: dict[str, Any] | None) -> None:
        if marks is None:
            return
        new = self.folder / ".marks.json"
        with suppress(OSError):  # an older one does: more is caught up then
            new.write_bytes(orjson.dumps(marks))
            new.replace(self.folder / "marks.json")

    def _resume(self, now: datetime) -> None:
        """Catch up from where the last process stopped, or else from the beginning of this minute."""
        since = now.replace(second=0, microsecond=0)
        try:
            marks = orjson.loads((self.folder / "marks.json").read_bytes())
            since = min(datetime.fromisoformat(marks["until"]), now)
            if now - since <= LONGEST:
                self.intake.restore(marks["spans"])
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.warning(
                "%s/marks.json cannot be read, so nothing before this minute is caught up: %s", self.folder, error
            )
        self.intake.begin(since)


def _feed(exchange: str, vendors: Sequence[str], streams: Sequence[Stream]) -> Feed:
    feed = make(exchange, vendors, streams)
    if unknown := [stream for stream in streams if stream not in feed.streams]:
        have = ", ".join(feed.streams)
        raise ConfigError(f"the feed of {exchange} has no {', '.join(unknown)} that can be collected; it has {have}")
    if not streams or ("quotes" in streams and "trades" not in streams):
        raise ConfigError(
            f"streams are {', '.join(STREAMS)}; quotes need trades beside them, which tell the last price"
        )
    return feed


def _address(settings: Settings, exchange: str) -> str:
    name = f"{exchange}_feed_url"
    url = str(getattr(settings, name))
    if not url.startswith(("ws://", "wss://")):
        raise ConfigError(f"{PREFIX}{name.upper()} is {url!r:.200}; a feed's address begins with wss:// or ws://")
    return url


async def _ended(tasks: Sequence[asyncio.Task[Any]], *, cancel: bool = False) -> list[BaseException]:
    """Wait for their ends; returns what they failed with."""
    for task in tasks:
        if cancel:
            task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    return [one for one in results if isinstance(one, BaseException) and not isinstance(one, asyncio.CancelledError)]
