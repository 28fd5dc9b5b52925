"""A file of quotes, trades or bars -> Kinesis, chunk by chunk.

The file is read twice: first to know its symbols and times, so that nothing is sent of a file that cannot be used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Final

import psycopg

from include.aws import client
from include.errors import ConfigError
from include.events import Kind, iso
from include.instruments import known_instruments, register
from include.pipeline.keepsakes import keep
from include.pipeline.sending import send
from include.settings import Settings
from include.sources.base import Batch
from include.sources.files import Query, read
from include.sources.timing import Timing, scan
from include.warehouse.db import connect
from include.warehouse.outcomes import attempt
from include.warehouse.quarantine import quarantine

_CHUNK: Final = 10_000  # rows
_TICK: Final = 0.5  # seconds between two releases at the least, where a speed is given
_MOST_NAMED: Final = 50


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay sent. `first` and `last` are the events' times, after re-timing."""

    path: Path
    events: int
    rejected: int
    registered: int
    first: datetime
    last: datetime

    def __str__(self) -> str:
        more = f", {self.rejected:,} rows rejected" if self.rejected else ""
        more += f", {self.registered} instruments registered" if self.registered else ""
        return f"{self.path.name}: {self.events:,} events from {iso(self.first)} to {iso(self.last)}{more}"


def replay(
    settings: Settings,
    path: Path,
    kind: Kind,
    *,
    columns: Mapping[str, str] | None = None,
    symbol: str | None = None,
    resolution: str = "1m",
    retime: bool = False,
    every: timedelta | None = None,
    speed: float | None = None,
    limit: int | None = None,
    add_instruments: str | None = None,
    drain: Callable[[], object] | None = None,
    progress: Callable[[int], object] | None = None,
    run_id: str | None = None,
) -> ReplayReport:
    """Send a file's rows into the stream as events of the source `replay`; bad rows go to quarantine.

    Times are the file's own. With `every` the rows of each symbol are that far apart; with `retime` everything is
    shifted (by whole minutes, or bars) so that the last row is now. `speed` releases the rows at that multiple of their
    own pace; without it they go as fast as the stream takes them. After each chunk `progress` gets the number of rows
    done, and `drain` is called, which may bring the chunk on so that the stream stays short.

    Raises ConfigError for columns that cannot be found, and for unknown symbols, unless `add_instruments` names the
    asset class to register them with; SourceError for a file that cannot be read to its end (after either, nothing was
    sent); StreamError if the stream does not take all. Repeating it is safe, unless re-timed: then it is new data.
    """
    if speed is not None and speed <= 0:
        raise ConfigError(f"speed is {speed:g}; it must be more than 0")
    query = Query(path, kind, columns or {}, symbol, resolution, limit)
    now = datetime.now(UTC)
    with connect(settings) as conn, attempt(conn, "replay", source="replay", run_id=run_id) as this:
        this.detail |= {"file": str(path), "kind": kind}
        found = scan(query)
        timing = Timing(query, found, every=every, until=now if retime else None)
        registered = _check_symbols(conn, settings, path, found.counts, add_instruments)
        origin = f"{path.resolve()} of {iso(datetime.fromtimestamp(path.stat().st_mtime, UTC))}"
        kinesis, events, rejected = client(settings, "kinesis"), 0, 0
        chunks = (timing.placed(batch) for batch in read(query, received_at=now, chunk=_CHUNK))
        for chunk in chunks if speed is None else _paced(chunks, timing.first, speed):
            sent = send(kinesis, settings.stream, timing.marked(chunk))
            quarantine(conn, origin, "replay", [*chunk.rejected, *sent.oversize])
            events += sent.count
            rejected += len(chunk.rejected) + len(sent.oversize)
            if progress is not None:
                progress(events + rejected)
            if drain is not None:
                drain()
        this.row_count = events
        this.detail |= {"rejected": rejected, "registered": registered, "first": timing.first, "last": timing.last}
    return ReplayReport(path, events, rejected, registered, timing.first, timing.last)


def _check_symbols(
    conn: psycopg.Connection, settings: Settings, path: Path, symbols: Iterable[str], add_as: str | None
) -> int:
    """Register unknown symbols, noted in the lake, or raise ConfigError listing them; how many were registered."""
    known = {one.symbol for one in known_instruments(conn, settings)}
    unknown = sorted(set(symbols) - known)
    if unknown and add_as is not None:
        registered = register(conn, unknown, add_as, primary_source="replay")
        keep(settings)
        return registered
    if unknown:
        more = f" and {len(unknown) - _MOST_NAMED} more" if len(unknown) > _MOST_NAMED else ""
        raise ConfigError(
            f"{path} has symbols that are not among the instruments: {', '.join(unknown[:_MOST_NAMED])}{more}.\n"
            f"Register them with --add-instruments crypto (or equity), or add them to {settings.instruments_file}."
        )
    return 0


def _paced(chunks: Iterable[Batch], first: datetime, speed: float) -> Iterator[Batch]:
    """The same rows in smaller batches, each when its time has come."""
    began = monotonic()
    for chunk in chunks:
        part = Batch(rejected=chunk.rejected)
        for event, line in zip(chunk.events, chunk.lines, strict=True):
            due = began + (event.event_time - first).total_seconds() / speed
            if due > monotonic():
                if part.events or part.rejected:
                    yield part
                    part = Batch()
                sleep(max(due - monotonic(), _TICK))
            part.events.append(event)
            part.lines.append(line)
        yield part
