"""`quantstream bench`: what the platform costs, measured on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from include.commands.bench_backfill import backfill
from include.commands.bench_detect import detect
from include.commands.bench_home import home_of_its_own, register_made_up, tell
from include.commands.bench_sql import sql
from include.commands.bench_stream import stream
from include.errors import QuantStreamError
from include.settings import ROOT

app = typer.Typer(help="Measure the platform on this machine.", no_args_is_help=True)
app.command()(stream)
app.command()(backfill)
app.command()(sql)
app.command()(detect)

_BACKFILLED = """
select coalesce(sum(inserted_count), 0)::bigint from ops.loads where not is_live and transformed_at > %(since)s
"""

# For each minute: when each step of the chain that began with its pull ended. A later step belongs to the first of its
# kind that ended after the step before it (each drains everything that waits).
_STEPS = """
with recursive chain(minute, step_number, at, seconds) as (
    select window_end, 1, max(at), max(seconds)
    from ops.outcomes where step = 'pull' and ok and run_id <> 'catch-up' and window_end > %(since)s
    group by window_end
    union all
    select c.minute, c.step_number + 1, o.at, o.seconds
    from chain as c
    cross join lateral (
        select at, seconds from ops.outcomes
        where step = (array['pull', 'land', 'load', 'audit', 'transform', 'detect', 'notify'])[c.step_number + 1]
          and ok and at - make_interval(secs => seconds) >= c.at
        order by at limit 1
    ) as o
    where c.step_number < 7
)
select minute, (array['pull', 'land', 'load', 'audit', 'transform', 'detect', 'notify'])[step_number] as step,
       extract(epoch from at - minute)::float8 as after_minute, seconds::float8
from chain order by minute, step_number
"""
_MODELS = """
select model.key, model.value::float8
from ops.outcomes as o cross join lateral jsonb_each_text(o.detail -> %(what)s) as model
where o.step = 'transform' and o.ok and o.detail ->> 'lane' = 'live' and o.at > %(since)s
"""
_ALERTS = """
select extract(epoch from sent_at - (candle_start + interval '1 minute'))::float8
from marts.alerts where category = 'market' and sent_at is not null and candle_start >= %(since)s
"""


@dataclass(frozen=True, slots=True)
class Spread:
    """The usual and the bad case of some durations, in seconds."""

    p50: float
    p95: float
    max: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        import numpy as np

        p50, p95 = np.percentile(values, [50, 95])
        return cls(round(float(p50), 2), round(float(p95), 2), round(max(values), 2))


@dataclass(frozen=True, slots=True)
class MinuteBench:
    """Result of `bench minute`: seconds from the end of the minute until the alerts were published, and the parts.

    `models`: dbt's models and tests within the step transform, several of which run at once. `rows`: how many rows a
    model wrote.
    """

    symbols: int
    minutes: int
    complete: int
    published_after: Spread
    alert_latency: Spread | None
    alerts: int
    steps: dict[str, Spread]
    models: dict[str, Spread]
    rows: dict[str, Spread]
    backlog_first_minute: float
    backlog_last_minute: float
    cpu_seconds_per_minute: float
    backfilled: int


@app.command()
def minute(
    symbols: Annotated[int, typer.Option(min=1, max=20_000, help="How many symbols are quoted each minute.")] = 25,
    minutes: Annotated[int, typer.Option(min=1, help="How many minutes to measure, after the first full one.")] = 10,
    backfill_days: Annotated[
        int, typer.Option(min=0, help="Meanwhile backfill so many days of the simulator; 0: none.")
    ] = 0,
    keep: Annotated[bool, typer.Option(help="Leave the bench's own platform and its state for a look.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
) -> None:
    """The minute through the real scheduler, in a platform of its own beside yours.

    Prints the time from the end of the minute until its alerts were published, as p50 and p95, and what each step took.

    Whether a backfill holds the minute up: run it with and without --backfill-days, one after the other.

    Example: quantstream bench minute --symbols 1000 --minutes 10
    """
    from rich.console import Console

    console = Console(stderr=True)
    with home_of_its_own(console, keep=keep) as home:
        result = _measure(home, symbols, minutes, backfill_days, console)
    tell(result, _table, as_json=as_json)


def _measure(home: Path, symbols: int, minutes: int, backfill_days: int, console: Any) -> MinuteBench:
    from include.settings import load_settings
    from include.stack.up import up
    from include.warehouse.db import connect

    settings = load_settings(home=home)
    up(settings, console, airflow=False)
    settings = load_settings(home=home)
    with connect(settings) as conn:
        register_made_up(conn, settings, symbols)
    up(settings, console)
    settings = load_settings(home=home)
    since = datetime.now(UTC).replace(second=0, microsecond=0)
    cpu = _cpu_seconds(home)
    console.print(f"measuring {minutes} minutes with {symbols} symbols, from {since:%H:%M} UTC")
    with _backfilling(home, since, backfill_days):
        while datetime.now(UTC) < since + timedelta(minutes=minutes, seconds=45):
            time.sleep(5)
    cpu = _cpu_seconds(home) - cpu
    elapsed = (datetime.now(UTC) - since).total_seconds()
    with connect(settings) as conn:
        backfilled = conn.execute(_BACKFILLED, {"since": since}).fetchone()
        rows = conn.execute(_STEPS, {"since": since}).fetchall()
        alerts = [row[0] for row in conn.execute(_ALERTS, {"since": since})]
        after = since + timedelta(seconds=30)  # not those of the start
        models, written = (
            _grouped(conn.execute(_MODELS, {"since": after, "what": what})) for what in ("seconds", "rows")
        )
    ends = [row[2] for row in rows if row[1] == "notify"][:minutes]
    if not ends:
        raise QuantStreamError(f"no minute was finished; look at QUANTSTREAM_HOME={home} quantstream logs")
    steps = _grouped((step, seconds) for _, step, _, seconds in rows)
    return MinuteBench(
        symbols=symbols,
        minutes=minutes,
        complete=len(ends),
        published_after=Spread.of(ends),
        alert_latency=Spread.of(alerts) if alerts else None,
        alerts=len(alerts),
        steps={step: Spread.of(values) for step, values in steps.items()},
        models={model: Spread.of(values) for model, values in models.items()},
        rows={model: Spread.of(values) for model, values in written.items()},
        backlog_first_minute=round(ends[0], 2),
        backlog_last_minute=round(ends[-1], 2),
        cpu_seconds_per_minute=round(cpu / elapsed * 60, 1),
        backfilled=backfilled[0] if backfilled else 0,
    )


@contextmanager
def _backfilling(home: Path, until: datetime, days: int) -> Iterator[None]:
    """Airflow backfills the days before `until` meanwhile, as `quantstream backfill` asks it to."""
    if not days:
        yield
        return
    end = until.replace(hour=0, minute=0)
    asked = ["--source", "simulator", "--from", f"{end - timedelta(days=days):%Y-%m-%d}", "--to", f"{end:%Y-%m-%d}"]
    with subprocess.Popen(
        [sys.executable, "-m", "include.cli", "backfill", *asked],
        env=os.environ | {"QUANTSTREAM_HOME": str(home)}, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True,
    ) as watching:  # fmt: skip
        try:
            yield
        finally:
            watching.send_signal(signal.SIGINT)  # it only watches: the backfill itself is Airflow's
            _, said = watching.communicate()
    if watching.returncode not in (0, 1, 130, -signal.SIGINT):
        raise QuantStreamError(f"the backfill could not be started:\n{said[-1500:]}")


def _grouped(rows: Iterable[tuple[str, float]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for name, seconds in rows:
        found.setdefault(name, []).append(seconds)
    return found


def _cpu_seconds(home: Path) -> float:
    """CPU time of all processes of this platform so far, ended children included."""
    import psutil

    total = 0.0
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("QUANTSTREAM_STACK") == str(home):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
    return total


def _table(result: MinuteBench) -> Any:
    from rich.table import Table

    table = Table(title=f"{result.symbols} symbols, {result.complete} of {result.minutes} minutes finished")
    for name in ("seconds", "p50", "p95", "max", "rows p50", "rows max"):
        table.add_column(name, justify="left" if name == "seconds" else "right")
    rows = [
        ("end of minute -> published", result.published_after),
        ("  alert: candle end -> SNS", result.alert_latency),
    ]
    parts = [(f"  step {step}", spread) for step, spread in result.steps.items()]
    models = [(f"    {model}", spread) for model, spread in sorted(result.models.items(), key=lambda one: -one[1].p50)]
    for name, spread in [*rows, *parts, *models]:
        if spread is not None:
            rows_of = result.rows.get(name.strip())
            said = (f"{rows_of.p50:,.0f}", f"{rows_of.max:,.0f}") if rows_of else ()
            table.add_row(name, f"{spread.p50:.2f}", f"{spread.p95:.2f}", f"{spread.max:.2f}", *said)
    table.caption = (
        f"{result.alerts} alerts; the first minute took {result.backlog_first_minute:.1f} s, "
        f"the last {result.backlog_last_minute:.1f} s; {result.cpu_seconds_per_minute:.0f} core-seconds a minute"
        + (f"; {result.backfilled:,} events of history built meanwhile" if result.backfilled else "")
    )
    return table
