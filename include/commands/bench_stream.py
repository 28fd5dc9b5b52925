"""`quantstream bench stream`: events a second through produce, land and load, beside a bare COPY of the same rows."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Annotated, Any, Final, Literal

import typer

from include.commands.bench_home import copy_again, home_of_its_own, tell
from include.errors import QuantStreamError
from include.events import Event
from include.settings import Settings

StreamKind = Literal["trade", "quote", "bar"]

_CHUNK: Final = 10_000  # events that a source hands over at once
_SYMBOLS: Final = 25
_SAMPLE: Final = 0.02  # seconds between two looks at the memory


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the events took through one step, how many that is a second, and the memory of this process (MiB)."""

    seconds: float
    events_per_second: int
    of_copy: float
    peak_mib: int


@dataclass(frozen=True, slots=True)
class StreamBench:
    """Result of `bench stream`. `of_copy`: events a second as a share of what a bare COPY of their rows reaches."""

    events: int
    shards: int
    kind: str
    records: int
    objects: int
    object_bytes: int
    copy_rows_per_second: int
    steps: dict[str, Pace]


def stream(
    events: Annotated[int, typer.Option(min=1, help="How many events to send.")] = 100_000,
    shards: Annotated[int, typer.Option(min=1, max=100, help="Shards of the bench's own stream.")] = 4,
    kind: Annotated[StreamKind, typer.Option(help="Of which kind they are.")] = "trade",
    keep: Annotated[bool, typer.Option(help="Leave the bench's own platform and its state for a look.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
) -> None:
    """Events a second through produce, land and load, in a stream, lake and warehouse of its own.

    Each step is set against a bare COPY of the same rows into a plain table of the same columns, in the same run.

    Example: quantstream bench stream --events 100000 --shards 4
    """
    from rich.console import Console

    from include.settings import load_settings
    from include.stack.local_aws import provision
    from include.stack.up import up

    console = Console(stderr=True)
    with home_of_its_own(console, keep=keep) as home:
        settings = up(load_settings(home=home, shards=shards), console, airflow=False).settings
        # The local AWS makes the platform's stream by itself, with as many shards as the platform's settings say.
        settings = settings.model_copy(update={"stream": f"{settings.stream}-bench"})
        provision(settings)
        result = measure(settings, events=events, kind=kind)
    tell(result, _table, as_json=as_json)


def measure(settings: Settings, *, events: int, kind: StreamKind) -> StreamBench:
    """Send made-up events through an empty stream into an empty warehouse, and COPY their rows once more.

    Raises QuantStreamError if not every event became one row.
    """
    from include.aws import client
    from include.pipeline.land import LandReport, land
    from include.pipeline.load import load
    from include.pipeline.sending import send
    from include.sources.base import Batch
    from include.stream.consumer import describe
    from include.warehouse.db import connect

    kinesis = client(settings, "kinesis")
    shards = len(describe(kinesis, settings.stream).shards)
    clocks = {name: _Clock() for name in ("produce", "land", "load")}
    chunks = made_up(kind, events)
    for chunk in chunks:
        with clocks["produce"].running():
            send(kinesis, settings.stream, Batch(chunk, list(range(1, len(chunk) + 1))))
    landed = LandReport()
    records = objects = size = 0
    while not objects or landed.records_behind:
        with clocks["land"].running():
            landed = land(settings)
        records, objects, size = records + landed.records, objects + landed.objects, size + landed.bytes
    with clocks["load"].running():
        loaded = load(settings).events
    with connect(settings) as conn:
        copied, seconds = copy_again(conn, "raw.landed_events")
    if not events == loaded == copied:
        raise QuantStreamError(f"of {events} events {loaded} were loaded and {copied} copied; this must not be")
    return StreamBench(
        events=events,
        shards=shards,
        kind=kind,
        records=records,
        objects=objects,
        object_bytes=size,
        copy_rows_per_second=round(events / seconds),
        steps={
            name: Pace(
                round(clock.seconds, 3),
                round(events / clock.seconds),
                round(seconds / clock.seconds, 3),
                clock.peak_mib,
            )
            for name, clock in clocks.items()
        },
    )


def made_up(kind: StreamKind, count: int) -> Iterator[list[Event]]:
    """Chunks of events of 25 symbols within the last minute, always the same prices."""
    chance = random.Random(7)  # noqa: S311  # made-up prices
    now = datetime.now(UTC)
    start, step = now - timedelta(minutes=1), timedelta(minutes=1) / count
    make = _PAYLOADS[kind]
    for first in range(0, count, _CHUNK):
        yield [
            Event(
                "replay",
                kind,
                f"BENCH{chance.randrange(_SYMBOLS):02d}-USD",
                start + number * step,
                f"{1_000_000_000 + number}",
                make(round(100 * chance.lognormvariate(0, 0.01), 2), round(chance.expovariate(1), 6), number % 2 == 0),
                now,
            )
            for number in range(first, min(first + _CHUNK, count))
        ]


_PAYLOADS: Final[dict[str, Callable[[float, float, bool], dict[str, Any]]]] = {
    "trade": lambda price, size, up: {"price": price, "size": size, "side": "buy" if up else "sell"},
    "quote": lambda price, size, up: {"price": price, "bid": price - 0.01, "ask": price + 0.01, "day_volume": size},
    "bar": lambda price, size, up: {
        "resolution": "1m", "open": price, "high": price + size, "low": price - 0.5, "close": price, "volume": size,
    },
}  # fmt: skip


class _Clock:
    """Seconds while it runs, and the most memory that this process held then."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.peak_mib = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        import psutil

        process, done = psutil.Process(), threading.Event()

        def look() -> None:
            while True:
                self.peak_mib = max(self.peak_mib, process.memory_info().rss // 1024**2)
                if done.wait(_SAMPLE):
                    return

        thread = threading.Thread(target=look, name="memory", daemon=True)
        thread.start()
        started = perf_counter()
        try:
            yield
        finally:
            self.seconds += perf_counter() - started
            done.set()
            thread.join()


def _table(result: StreamBench) -> Any:
    from rich.table import Table

    table = Table(title=f"{result.events:,} {result.kind}s through {result.shards} shards")
    for name in ("step", "seconds", "events/s", "of a bare COPY", "peak MiB"):
        table.add_column(name, justify="left" if name == "step" else "right")
    for name, pace in result.steps.items():
        table.add_row(
            name, f"{pace.seconds:.2f}", f"{pace.events_per_second:,}", f"{pace.of_copy:.0%}", str(pace.peak_mib)
        )
    rate = result.copy_rows_per_second
    table.add_row("bare COPY", f"{result.events / rate:.2f}", f"{rate:,}", "100%", "")
    table.caption = (
        f"{result.records:,} records in {result.objects:,} objects of {result.object_bytes:,} bytes together"
    )
    return table
