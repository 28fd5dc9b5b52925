"""`quantstream bench backfill`: history from a local vendor to finished marts, beside a bare COPY of the same rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, Final, Literal

import typer

from include.commands.bench_home import copy_again, home_of_its_own, tell
from include.commands.bench_memory import Memory
from include.errors import QuantStreamError
from include.events import Window
from include.settings import Settings

BackfillKind = Literal["bar", "trade"]

START: Final = datetime(2025, 1, 1, tzinfo=UTC)
_DAY: Final = timedelta(days=1)
_BARS_A_DAY: Final = 1440
_AT_ONCE: Final = 100_000  # events of one call of `backfill`: what fits into one raw object

_MADE: Final = (
    "raw.market_events", "marts.trades", "marts.candles_1m", "marts.candles_5m", "marts.candles_15m",
    "marts.candles_1h", "marts.candles_1d", "marts.indicators_1m",
)  # fmt: skip
_STEPS: Final = """
select step, sum(seconds), max(at) from ops.outcomes
where at > %s and step in ('history', 'load_history', 'audit_history', 'transform') group by step
"""


@dataclass(frozen=True, slots=True)
class BackfillBench:
    """Result of `bench backfill`. Seconds are of the clock; `steps` are summed over the processes that did them.

    `of_copy` is the whole time as a multiple of a COPY of the same rows into a table without an index, `of_keyed_copy`
    into one with the keys of raw.market_events. `of_made_copy`: of a COPY of all rows that were made, raw and marts,
    into tables with their keys, which is what would be left if nothing had to be fetched, judged or computed.
    `one_more_day`: seconds that a day took with so many days present.
    """

    kind: str
    events: int
    symbols: int
    days: int
    jobs: int
    seconds: float
    events_per_second: int
    fetched_seconds: float
    steps: dict[str, float]
    copy_seconds: float
    keyed_copy_seconds: float
    made_copy_seconds: float
    of_copy: float
    of_keyed_copy: float
    of_made_copy: float
    peak_mib: int
    peak_database_mib: int
    one_more_day: dict[int, float]
    rows: dict[str, int]


def backfill(
    events: Annotated[int, typer.Option(min=1440, help="About how many events of history.")] = 2_000_000,
    kind: Annotated[BackfillKind, typer.Option(help="One-minute bars, or trades.")] = "bar",
    symbols: Annotated[int, typer.Option(min=1, max=500, help="Of how many instruments.")] = 10,
    jobs: Annotated[int, typer.Option(min=1, max=16, help="Processes that fetch, load and audit.")] = 2,
    growth: Annotated[bool, typer.Option(help="Also time one more day, with one day present and with all.")] = True,
    keep: Annotated[bool, typer.Option(help="Leave the bench's own platform and its state for a look.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
) -> None:
    """History from a vendor on loopback to finished marts: fetched, landed, loaded, audited, built, in a platform of
    its own.

    The time is set against a bare COPY of the same rows in the same run. A year of bars: --events 5256000.

    Example: quantstream bench backfill --events 2000000 --symbols 10
    """
    from rich.console import Console

    from include.settings import load_settings
    from include.stack.up import up

    console = Console(stderr=True)
    per_day = _per_day(kind, events, symbols)
    days = max(1, round(events / per_day))
    with home_of_its_own(console, keep=keep) as home:
        file = _instruments(home, symbols)
        chosen = {"home": home, "sources": "binance", "instruments_file": file, "cadence_seconds": 60}
        settings = up(load_settings(**chosen), console, airflow=False).settings
        with vendor([f"BENCH{n:03d}USDT" for n in range(symbols)], START, per_day // symbols) as url:
            settings = settings.model_copy(update={
                "binance_url": url, "sources": ["binance"], "instruments_file": file,
                "vendor_budgets": {"binance": "100000000/minute"}, "transform_history_events": 1_000_000,
            })  # fmt: skip
            result = measure(settings, kind, symbols, days, per_day, jobs, growth=growth, console=console)
    tell(result, _table, as_json=as_json)


def measure(
    settings: Settings, kind: BackfillKind, symbols: int, days: int, per_day: int, jobs: int, *, growth: bool,
    console: Any,
) -> BackfillBench:  # fmt: skip
    """Backfill `days` days into an empty warehouse and COPY their rows once more.

    Raises QuantStreamError if not every event of the vendor became one row.
    """
    from include.pipeline.transform import transform
    from include.quality.audit import preload as preload_audit
    from include.transform.runner import preload as preload_transform
    from include.warehouse.db import connect

    preload_audit()
    preload_transform(settings)  # as Airflow's scheduler does, before it forks
    more: dict[int, float] = {}
    first = START + 2 * _DAY  # two days below it for `growth`
    if growth:
        for present, day in enumerate((first, first + _DAY)):
            took = _one_day(settings, kind, day)
            more |= {present: took} if present else {}
        first, days = first + 2 * _DAY, days - 2
    at_once = max(1, _AT_ONCE // per_day)
    windows = [Window(first + n * _DAY, first + min(n + at_once, days) * _DAY) for n in range(0, days, at_once)]
    with connect(settings) as conn:
        began_at = conn.execute("select clock_timestamp()").fetchone()
    with ProcessPoolExecutor(jobs, mp_context=get_context("fork")) as pool:
        list(pool.map(abs, range(jobs)))  # all are there before the clock and the watching thread are
        with Memory(settings.home) as memory:
            began = perf_counter()
            for done, _ in enumerate(pool.map(fetch, ((settings, kind, window) for window in windows)), start=1):
                if done % 10 == 0 or done == len(windows):
                    console.print(
                        f"{done} of {len(windows)} pieces fetched and accepted, {perf_counter() - began:.0f} s"
                    )
            fetched = perf_counter()
            transform(settings)
            seconds = perf_counter() - began
    with connect(settings) as conn:
        assert began_at is not None  # noqa: S101  # a select gives a row
        steps = {step: round(spent, 2) for step, spent, _ in conn.execute(_STEPS, [began_at[0]])}
        rows = _counts(conn)
    if growth:
        days += 2
        more[days] = _one_day(settings, kind, START)
    with connect(settings) as conn:
        events = days * per_day
        if rows["raw.market_events"] != events:
            raise QuantStreamError(f"of {events} events {rows['raw.market_events']} came in; this must not be")
        _, plain = copy_again(conn, "raw.market_events")
        written = [copy_again(conn, table, keyed=True)[1] for table in _MADE]
    timed = events - (2 * per_day if growth else 0)
    share = timed / (events + (per_day if growth else 0))  # what was timed, of all that is there by now
    plain, keyed, made = plain * share, written[0] * share, sum(written) * share
    return BackfillBench(
        kind=kind, events=timed, symbols=symbols, days=days, jobs=jobs, seconds=round(seconds, 2),
        events_per_second=round(timed / seconds), fetched_seconds=round(fetched - began, 2), steps=steps,
        copy_seconds=round(plain, 2), keyed_copy_seconds=round(keyed, 2), made_copy_seconds=round(made, 2),
        of_copy=round(seconds / plain, 1), of_keyed_copy=round(seconds / keyed, 1),
        of_made_copy=round(seconds / made, 1), peak_mib=memory.peak_mib, peak_database_mib=memory.peak_database_mib,
        one_more_day={present: round(took, 2) for present, took in more.items()}, rows=rows,
    )  # fmt: skip


def _one_day(settings: Settings, kind: BackfillKind, day: datetime) -> float:
    from include.pipeline.transform import transform

    began = perf_counter()
    fetch((settings, kind, Window(day, day + _DAY)))
    transform(settings)
    return perf_counter() - began


def bring_in(settings: Settings, kind: BackfillKind, windows: Sequence[Window], jobs: int, console: Any) -> None:
    """Fetch, land, load and audit the windows in `jobs` processes, then build the marts."""
    from include.pipeline.transform import transform
    from include.quality.audit import preload as preload_audit
    from include.transform.runner import preload as preload_transform

    preload_audit()
    preload_transform(settings)  # before they are forked
    with ProcessPoolExecutor(jobs, mp_context=get_context("fork")) as pool:
        for done, events in enumerate(pool.map(fetch, ((settings, kind, window) for window in windows)), start=1):
            console.print(f"{done} of {len(windows)} pieces fetched and accepted, {events:,} events")
    transform(settings)


def fetch(task: tuple[Settings, BackfillKind, Any]) -> int:
    """Fetch, land, load and audit one window; how many events that were. For a pool of processes."""
    from include.pipeline.backfill import backfill

    settings, kind, window = task
    return backfill(settings, "binance", window, kind=kind).events


def _per_day(kind: BackfillKind, events: int, symbols: int) -> int:
    """Events of all instruments together in a day: 1,440 bars each, or so many trades that they fit into ten days."""
    if kind == "bar":
        return _BARS_A_DAY * symbols
    return max(symbols, -(-events // 10 // symbols) * symbols)


def _instruments(home: Path, symbols: int) -> Path:
    file = home / "instruments.csv"
    rows = [f"BENCH{n:03d}-USD,crypto,USD,24/7,binance,,BENCH{n:03d}USDT" for n in range(symbols)]
    header = "symbol,asset_class,currency,calendar,primary_source,fallbacks,binance"
    file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return file


class vendor:  # noqa: N801  # used as a function is
    """A local vendor in a process of its own, with so many events a day of each id from `start` on; its address."""

    def __init__(self, ids: Sequence[str], start: datetime, per_day: int) -> None:
        context = get_context("spawn")
        self.ours, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, ids, start, per_day), daemon=True)

    def __enter__(self) -> str:
        self.process.start()
        return str(self.ours.recv())

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.join()


def _serve(pipe: Any, ids: Sequence[str], start: datetime, per_day: int) -> None:
    from threading import Event

    from include.commands.local_exchange import MadeUpExchange, serving

    with serving(MadeUpExchange(ids, start, per_day)) as url:
        pipe.send(url)
        Event().wait()


def _counts(conn: Any) -> dict[str, int]:
    return {name: conn.execute(f"select count(*) from {name}").fetchone()[0] for name in _MADE}  # noqa: S608


def _table(result: BackfillBench) -> Any:
    from rich.table import Table

    table = Table(
        title=f"{result.events:,} {result.kind}s of {result.symbols} instruments in {result.days} days, "
        f"{result.jobs} jobs"
    )
    for name in ("what", "seconds", "events/s"):
        table.add_column(name, justify="left" if name == "what" else "right")
    for name, seconds in _lines(result):
        table.add_row(name, f"{seconds:.1f}", f"{result.events / seconds:,.0f}" if seconds else "")
    grown = ", ".join(f"{seconds:.1f} s with {days} present" for days, seconds in result.one_more_day.items())
    table.caption = (
        f"{result.of_copy:g} times a bare COPY, {result.of_keyed_copy:g} times one into a keyed table, "
        f"{result.of_made_copy:g} times one of all rows that were made; "
        f"peak {result.peak_mib} MiB of Python, {result.peak_database_mib} MiB of Postgres"
        + (f"; one more day: {grown}" if grown else "")
    )
    return table


def _lines(result: BackfillBench) -> Iterator[tuple[str, float]]:
    yield "vendor to finished marts", result.seconds
    yield "  fetched, landed, loaded, audited", result.fetched_seconds
    for name, seconds in result.steps.items():
        yield f"    {name}, summed over processes", seconds
    yield "bare COPY", result.copy_seconds
    yield "COPY into a keyed table", result.keyed_copy_seconds
    yield "COPY of all rows made, keyed", result.made_copy_seconds
