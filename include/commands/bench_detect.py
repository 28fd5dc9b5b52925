"""`quantstream bench detect`: how long detection takes for one new minute of many symbols."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from include.commands.bench_home import home_of_its_own, tell
from include.commands.bench_memory import Memory
from include.errors import QuantStreamError

if TYPE_CHECKING:
    import psycopg
    from rich.console import Console

    from include.settings import Settings

LIMIT: Final = 3.0
"""Seconds that one new minute of 1,000 symbols may take on two cores."""
_MINUTE: Final = timedelta(minutes=1)
_AT_ONCE: Final = 60  # minutes brought in at a time

_QUEUE: Final = """
insert into ops.detect_queue (symbol, lane, spans)
select distinct symbol, 'live',
       tstzmultirange(tstzrange(%(minute)s::timestamptz, %(minute)s::timestamptz + interval '1 minute'))
from marts.indicators_1m where candle_start = %(minute)s and is_final
"""
# The minutes to come are put aside, as they are not there yet.
_ASIDE: Final = """
create temp table to_come as select * from marts.indicators_1m where candle_start >= %(minute)s;
delete from marts.indicators_1m where candle_start >= %(minute)s
"""
_COMES: Final = "insert into marts.indicators_1m select * from to_come where candle_start = %(minute)s"
# Everything that can be strange about a minute at once, for every symbol.
_SHOCK: Final = """
update marts.indicators_1m
set close = close * 1.12, high = high * 1.12, volume = volume * 50, return = 0.12, log_return = ln(1.12),
    change_percent = 12, zscore = 4.3, bollinger_percent_b = 1.6, rsi_14 = 95, volume_zscore = 4.3
where candle_start = %(minute)s
"""


@dataclass(frozen=True, slots=True)
class DetectBench:
    """Result of `bench detect`, in seconds of the step. `first`: the first minute, in a process that has done nothing.

    `p50` to `longest` are of the `minutes` after it; `all_at_once` of a minute in which every symbol has a shock.
    `findings` are of those minutes together, `findings_at_once` of that one. `core_seconds`: what a minute takes of the
    processors, Python and Postgres together, p50: what it takes where nothing else runs. `peak_mib`: memory of Python,
    `peak_database_mib` of Postgres. `rules` were enabled; `models` those of them that want a model.
    """

    symbols: int
    rules: int
    models: int
    history: int
    minutes: int
    first: float
    p50: float
    p95: float
    longest: float
    findings: int
    all_at_once: float
    findings_at_once: int
    core_seconds: float
    core_seconds_at_once: float
    peak_mib: int
    peak_database_mib: int
    limit: float = LIMIT


def detect(
    symbols: Annotated[int, typer.Option(min=1, max=20_000, help="How many symbols have a new minute.")] = 1000,
    minutes: Annotated[int, typer.Option(min=2, max=120, help="How many minutes, one after the other.")] = 20,
    history: Annotated[
        int, typer.Option(min=1, max=1440, help="Candles of each symbol before the first of them.")
    ] = 300,
    keep: Annotated[bool, typer.Option(help="Leave the bench's own platform and its state for a look.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
) -> None:
    """Detection of one new minute of many symbols with all rules, in a platform of its own; the limit is 3 s.

    The candles come from the simulator by the path of every minute. Then minute after minute is queued, and the step
    timed; in the last one every symbol has a shock at once.

    Example: quantstream bench detect --symbols 1000
    """
    from rich.console import Console

    from include.settings import load_settings
    from include.stack.up import up

    console = Console(stderr=True)
    with home_of_its_own(console, keep=keep) as home:
        settings = up(load_settings(home=home, sources="simulator"), console, airflow=False).settings
        rules = home / "detection.yml"
        rules.write_text(everything_enabled())
        settings = settings.model_copy(update={"detection_file": rules})
        newest = _fill(settings, symbols, history + minutes, console)
        _train(settings, newest - minutes * _MINUTE, history)
        with Memory(home) as memory:
            times, found, cores = _run(settings, [newest - n * _MINUTE for n in reversed(range(minutes))])
        result = _result(settings, symbols, history, times, found, cores, memory)
    tell(result, _table, as_json=as_json)


def _fill(settings: Settings, symbols: int, minutes: int, console: Console) -> datetime:
    """Candles and indicators of so many minutes up to now, judged by no rule yet; the last minute's start."""
    from rich.progress import track

    from include.commands.bench_home import register_made_up
    from include.events import Window
    from include.pipeline.cycle import STEPS
    from include.pipeline.pull import pull
    from include.warehouse.db import connect

    with connect(settings) as conn:
        register_made_up(conn, settings, symbols)
    end = datetime.now(UTC).replace(second=0, microsecond=0)
    starts = [end - n * _MINUTE for n in range(minutes, 0, -_AT_ONCE)]
    steps = [STEPS[name] for name in ("land", "load", "audit", "transform")]
    for start in track(starts, f"{minutes} minutes of {symbols} symbols", console=console, transient=True):
        pull(settings, "simulator", Window(start, min(start + _AT_ONCE * _MINUTE, end)))
        for step in steps:
            step(settings)
    with connect(settings) as conn:
        conn.execute("delete from ops.detect_queue")
        conn.execute("vacuum analyze")  # as autovacuum has done it a minute later
        return _newest(conn)


def _train(settings: Settings, newest: datetime, history: int) -> None:
    """The three models, of all symbols, from the candles that there are: too few for good ones, but as large."""
    from collections import Counter

    from include.instruments import known_instruments
    from include.models.artifact import pack
    from include.models.learning import NAMES, Learning, TrainParams
    from include.models.seasonal import buckets_for
    from include.pipeline.models import store
    from include.pipeline.training_rows import read_rows
    from include.warehouse.db import connect
    from include.warehouse.models import add_model, decide

    window = newest - history * _MINUTE, newest, newest
    with connect(settings) as conn:
        known = known_instruments(conn, settings)
        params = TrainParams()
        learning = Learning(params, buckets_for(7), Counter(one.asset_class for one in known))
        for one in known:
            rows = read_rows(conn, one.symbol, window[0], window[1])
            if len(rows.minutes):
                learning.take(one.symbol, one.asset_class, rows.minutes, rows.columns)
        for name in NAMES:
            made = pack(
                name, learning.finish(name), trained_from=window[0], trained_until=window[1], data_sha256="",
                params=params.model_dump(), scores={},
            )  # fmt: skip
            add_model(
                conn, name=name, version=made.version, window=window, data_sha256="", sha256=made.sha256,
                s3_key=store(settings, made), params=params.model_dump(), scores={},
            )  # fmt: skip
            decide(conn, name, made.version, "approved", "for the bench")


def everything_enabled() -> str:
    """A detection file in which every rule of the platform runs, with its defaults."""
    from include.detection.registry import RULES

    return "rules:\n" + "".join(f"  {name}:\n    enabled: true\n" for name in RULES)


def _newest(conn: psycopg.Connection) -> datetime:
    row = conn.execute("select max(candle_start) from marts.indicators_1m where is_final").fetchone()
    if row is None or row[0] is None:
        raise QuantStreamError("no final candle was made; with --keep, `quantstream status` of that platform tells why")
    newest: datetime = row[0]
    return newest.astimezone(UTC)


def _run(settings: Settings, minutes: Sequence[datetime]) -> tuple[list[float], list[int], list[float]]:
    """Of each minute, the last one with a shock of every symbol: seconds of the step, what it found, core-seconds."""
    import psycopg

    from include.pipeline.detect import detect as step
    from include.warehouse.db import connect

    times, found, cores = [], [], []
    with connect(settings) as conn, psycopg.ClientCursor(conn) as cursor:
        cursor.execute(_ASIDE, {"minute": minutes[0]})
        for minute in minutes:
            conn.execute(_COMES, {"minute": minute})
            if minute == minutes[-1]:
                conn.execute(_SHOCK, {"minute": minute})
            conn.execute(_QUEUE, {"minute": minute})
            before = _findings(conn)
            busy, began = _core_seconds(settings.home), perf_counter()
            step(settings)
            times.append(perf_counter() - began)
            cores.append(_core_seconds(settings.home) - busy)
            found.append(_findings(conn) - before)
    return times, found, cores


def _core_seconds(home: Path) -> float:
    """What this process and the platform's Postgres have taken of the processors so far."""
    import psutil

    database = psutil.Process(int((home / "postgres" / "postmaster.pid").read_text().splitlines()[0]))
    taken = sum(database.cpu_times()[:4])  # with those of its children that ended
    for one in database.children(recursive=True):
        with suppress(psutil.Error):
            taken += sum(one.cpu_times()[:2])
    return float(taken + sum(psutil.Process().cpu_times()[:2]))


def _findings(conn: psycopg.Connection) -> int:
    row = conn.execute("select count(*) from ops.findings").fetchone()
    return int(row[0]) if row else 0


def _result(
    settings: Settings,
    symbols: int,
    history: int,
    times: Sequence[float],
    found: Sequence[int],
    cores: Sequence[float],
    memory: Memory,
) -> DetectBench:
    import numpy as np

    from include.detection.config import load_detection

    detection = load_detection(settings.detection_file)
    enabled = detection.enabled()
    wanted = {model for name in enabled for model in detection.rules[name].models(detection.params(name, "", None))}
    usual = times[1:-1]
    p50, p95 = np.percentile(usual, [50, 95])
    return DetectBench(
        symbols, len(enabled), len(wanted), history, len(usual), round(times[0], 2), round(float(p50), 2),
        round(float(p95), 2), round(max(usual), 2), sum(found[:-1]), round(times[-1], 2), found[-1],
        round(float(np.median(cores[1:-1])), 2), round(cores[-1], 2),
        memory.peak_mib, memory.peak_database_mib,
    )  # fmt: skip


def _table(result: DetectBench) -> Any:
    from rich.table import Table

    table = Table(
        title=f"one new minute of {result.symbols:,} symbols, {result.rules} rules, {result.models} models; "
        f"the limit is {result.limit:g} s"
    )
    for name in ("minute", "seconds", "findings", ""):
        table.add_column(name, justify="left" if name == "minute" else "right")
    rows = [
        ("the first, in a new process", result.first, ""),
        (f"p50 of {result.minutes} after it", result.p50, f"{result.findings:,} in all"),
        (f"p95 of {result.minutes} after it", result.p95, ""),
        ("the longest of them", result.longest, ""),
        ("core-seconds of a minute, p50", result.core_seconds, ""),
        ("core-seconds of the shock", result.core_seconds_at_once, ""),
        ("a shock of every symbol at once", result.all_at_once, f"{result.findings_at_once:,}"),
    ]
    for what, seconds, said in rows:
        is_over = seconds > result.limit and not what.startswith("core-seconds")
        table.add_row(what, f"{seconds:.2f}", said, "[red]over the limit[/]" if is_over else "")
    table.caption = (
        f"at most {result.peak_mib:,} MiB of Python and {result.peak_database_mib:,} MiB of Postgres; "
        f"{result.history} candles of each symbol before the first minute"
    )
    return table
