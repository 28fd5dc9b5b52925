"""`quantstream run`: the minute's work without Airflow, in one process, by the same functions into the same tables."""

from __future__ import annotations

import csv
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from include.errors import ConfigError
from include.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from include.events import Kind
    from include.pipeline.cycle import Cycle, Step

EPILOG = """
Examples:

  quantstream run --cycles 5                          the last five minutes, one after the other

  quantstream run --cycles 60 --every 60              an hour, minute by minute, as Airflow would

  quantstream run --source replay --file ticks.csv.gz --kind trade --symbol BAC --all

  quantstream run --source replay --file bars.parquet --kind bar --add-instruments crypto --all

`--source replay` reads a file of prices. What came in once is read again out of the lake by `quantstream replay`.

Exit codes: 0 all cycles went through, 1 a step failed, 2 a wrong option or setting, 3 nothing to connect to.
"""
_FIRST_ROWS = 10_000
_FLAGS = [
    "rule", "symbol", "candle_start", "direction", "value", "threshold", "close", "severity", "is_start", "source",
    "message",
]  # fmt: skip
_NEW_QUOTES = """
copy (
    select q.* from marts.quotes as q
    join (
        select distinct symbol, event_time, source from raw.market_events
        where load_id in (select load_id from ops.loads where loaded_at >= %(since)s)
    ) as new using (symbol, event_time, source)
    order by q.event_time, q.symbol, q.source
) to stdout (format csv, header)
"""
_NEW_ALERTS = """
copy (
    select * from marts.alerts where created_at >= %(since)s order by candle_start, alert_key
) to stdout (format csv, header)
"""
_NEW_EVENTS = """
with new as (select load_id from ops.loads where loaded_at >= %(since)s)
select coalesce(sum(inserted_count), 0)::bigint, coalesce(sum(quarantined_count), 0)::bigint,
       (select min(event_time) from raw.market_events as e where e.load_id in (select load_id from new)),
       (select max(event_time) from raw.market_events as e where e.load_id in (select load_id from new)),
       (select count(*) from marts.alerts where created_at >= %(since)s and state = 'history')
from ops.loads where load_id in (select load_id from new)
"""


def run(
    cycles: Annotated[
        int, typer.Option(min=1, help="How many minutes to do; the last one is the last whole minute.")
    ] = 5,
    every: Annotated[float, typer.Option(min=0, help="Seconds between the starts of two cycles; 0: at once.")] = 0,
    source: Annotated[
        str | None, typer.Option(help="Pull from this source only; 'replay' reads a file. Default: the enabled ones.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Replay: CSV, JSONL or Parquet, gzip or not.")] = None,
    kind: Annotated[str | None, typer.Option(help="Replay: quote, trade or bar.")] = None,
    all_rows: Annotated[
        bool, typer.Option("--all", help=f"Replay: the whole file, not the first {_FIRST_ROWS:,} rows.")
    ] = False,
    columns: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="FIELD=COLUMN", help="Replay: where a column's name is not known."),
    ] = None,
    symbol: Annotated[str | None, typer.Option(help="Replay: the symbol, where the file has no such column.")] = None,
    resolution: Annotated[str, typer.Option(help="Replay of bars: 1m, 5m, 1h or 1d.")] = "1m",
    add_instruments: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Replay: register unknown symbols as equity or crypto.")
    ] = None,
    retime: Annotated[bool, typer.Option(help="Replay: shift the times so that the last row is now.")] = False,
    space: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Replay: put each symbol's rows this far apart.")
    ] = None,
    speed: Annotated[float | None, typer.Option(help="Replay: at this multiple of the file's own pace.")] = None,
    artifacts: Annotated[Path, typer.Option(help="Where quotes.csv, flags.csv and alerts.csv go.")] = Path("artifacts"),
    as_json: Annotated[
        bool, typer.Option("--json", help="A summary as JSON on stdout; progress goes to stderr.")
    ] = False,
) -> None:
    """Do the minute's work without Airflow, print the alerts as they come, and leave quotes, flags and alerts as CSV.

    Starts the embedded database and the local AWS if they are not up; they stay up for `quantstream sql`.
    """
    from rich.console import Console

    from include.settings import load_settings
    from include.stack.up import up

    console = Console(stderr=as_json, highlight=False)
    if source is not None and source != "replay":
        load_settings(sources=source)  # refuses an unknown one before anything starts
    _check_replay_options(source, file, kind)
    up(load_settings(), console, airflow=False)
    settings = load_settings(**({"sources": source} if source not in (None, "replay") else {}))
    started = datetime.now(UTC)
    session = _Session(settings, console)
    if source == "replay":
        assert file is not None  # noqa: S101  # checked above
        session.replay(
            file, cast("Kind", kind), columns=_mapping(columns), symbol=symbol, resolution=resolution,
            add_instruments=add_instruments, retime=retime, space=space, speed=speed,
            limit=None if all_rows else _FIRST_ROWS,
        )  # fmt: skip
    else:
        session.warm_up(cycles)
        session.cycle(cycles, every)
    summary = session.write_artifacts(artifacts, started)
    if as_json:
        Console().print_json(json.dumps(summary))
    else:
        old = f" (written down, too old to send: {summary['alerts_too_old']:,})" if summary["alerts_too_old"] else ""
        console.print(
            f"{summary['events']:,} events, {summary['alerts']:,} alerts{old} in "
            f"{(datetime.now(UTC) - started).total_seconds():.1f} s; see {artifacts}/quotes.csv, flags.csv, alerts.csv"
        )
        console.print('Look around: quantstream sql "select * from latest_quotes"    Stop: make down')
    if session.failed:
        raise typer.Exit(1)


class _Session:
    """One call of `run`: what it prints and counts."""

    def __init__(self, settings: Settings, console: Console) -> None:
        self.settings = settings
        self.console = console
        self.failed = False
        self.alerts_from = datetime.now(UTC)
        self.alerts_seen: set[str] = set()

    def warm_up(self, cycles: int) -> None:
        """Bring in the simulator's past, unless indicators of the last minutes are there already."""
        from include.pipeline.cycle import catch_up

        until = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=cycles)
        minutes = self.settings.warmup_minutes
        if self.settings.sources != ["simulator"] or not minutes or self._candles_since(until - timedelta(minutes=30)):
            return
        with self.console.status(f"bringing in the {minutes} minutes before, so that indicators are warm"):
            quotes = self.settings.model_copy(update={"simulator_trades_per_minute": 0})
            past = catch_up(quotes, minutes=minutes, until=until)
        self._report(f"{minutes} minutes before", past)

    def cycle(self, cycles: int, every: float) -> None:
        from include.events import Window
        from include.pipeline.cycle import run_cycle

        last = Window.minute_before(datetime.now(UTC))
        for number in range(cycles):
            begun = time.monotonic()
            back = timedelta(minutes=0 if every else cycles - 1 - number)
            window = Window.minute_before(datetime.now(UTC)) if every else Window(last.start - back, last.end - back)
            self._report(f"{window.start:%H:%M}", run_cycle(self.settings, window, run_id="run"))
            if every and number < cycles - 1:
                time.sleep(max(0.0, every - (time.monotonic() - begun)))

    def replay(self, file: Path, kind: Kind, *, retime: bool, space: float | None, **options: Any) -> None:
        """Send the file through the stream in chunks, draining each; then transform and detect once."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        from include.pipeline.cycle import process
        from include.pipeline.replay import replay

        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
        ) as bar:
            task = bar.add_task(file.name, total=None)

            def drain() -> None:
                self._check(process(self.settings, run_id="run", only=("land", "load", "audit")))

            report = replay(
                self.settings, file, kind, retime=retime, every=timedelta(seconds=space) if space else None,
                drain=drain, progress=lambda done: bar.update(task, completed=done), run_id="run", **options,
            )  # fmt: skip
            bar.update(task, description="candles, indicators, alerts")
            steps: tuple[Step, ...] = process(self.settings, run_id="run")
        self._check(steps)
        self.console.print(str(report))
        self.console.print("  ".join(f"{step.name} {step.seconds:.2f}" for step in steps))
        self._print_new_alerts()

    def write_artifacts(self, folder: Path, since: datetime) -> dict[str, Any]:
        """quotes.csv, flags.csv and alerts.csv of what this call brought in; returns the counts."""
        from include.events import Window
        from include.pipeline.detect import flags
        from include.warehouse.db import connect

        folder.mkdir(parents=True, exist_ok=True)
        counts: dict[str, Any] = {}
        with connect(self.settings) as conn:
            row = conn.execute(_NEW_EVENTS, {"since": since}).fetchone()
            assert row is not None  # noqa: S101  # an aggregate always gives a row
            events, quarantined, first, last, too_old = row
            for name, query in (("quotes", _NEW_QUOTES), ("alerts", _NEW_ALERTS)):
                with (folder / f"{name}.csv").open("wb") as out, conn.cursor() as cursor:
                    with cursor.copy(query, {"since": since}) as rows:
                        for block in rows:
                            out.write(block)
                    counts[name] = cursor.rowcount
        found = flags(self.settings, Window(first, last + timedelta(microseconds=1))) if first else []
        with (folder / "flags.csv").open("w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, _FLAGS)
            writer.writeheader()
            writer.writerows(found)
        counts["flags"] = len(found)
        return {
            "events": events, "quarantined": quarantined, **counts, "alerts_too_old": too_old,
            "artifacts": str(folder), "failed": self.failed,
        }  # fmt: skip

    def _report(self, label: str, cycle: Cycle) -> None:
        total = sum(step.seconds for step in cycle.steps)
        parts = "  ".join(f"{step.name} {step.seconds:.2f}" for step in cycle.steps)
        self.console.print(f"[bold]{label}[/]  {total:5.2f} s  [dim]{parts}[/]")
        self._check(cycle.steps)
        self._print_new_alerts()

    def _check(self, steps: tuple[Step, ...]) -> None:
        from rich.markup import escape

        for step in steps:
            if step.error is not None:
                self.failed = True
                self.console.print(f"  [red]{step.name} failed:[/] {escape(step.said)}")

    def _print_new_alerts(self, most: int = 20) -> None:
        from rich.markup import escape

        from include.warehouse.db import connect

        with connect(self.settings) as conn:
            rows = conn.execute(
                "select alert_key, severity, candle_start, symbol, message from marts.alerts where created_at > %s"
                " order by candle_start, created_at, alert_key",
                [self.alerts_from],
            ).fetchall()
        new = [row for row in rows if row[0] not in self.alerts_seen]
        self.alerts_seen.update(row[0] for row in new)
        if len(new) > most:
            self.console.print(f"  [dim]{len(new) - most:,} earlier alerts, see alerts.csv[/]")
        for _, severity, candle, symbol, message in new[max(0, len(new) - most) :]:
            colour = {"critical": "red", "warning": "yellow"}.get(severity, "cyan")
            when = f"{candle:%H:%M} " if candle else ""
            self.console.print(f"  [{colour}]{severity:8}[/] {when}{escape(symbol or '')}: {escape(message)}")

    def _candles_since(self, moment: datetime) -> bool:
        from include.warehouse.db import connect

        with connect(self.settings) as conn:
            row = conn.execute(
                "select 1 from marts.indicators_1m where candle_start >= %s limit 1", [moment]
            ).fetchone()
        return row is not None


def _check_replay_options(source: str | None, file: Path | None, kind: str | None) -> None:
    if source != "replay":
        if file is not None:
            raise ConfigError("--file goes with --source replay")
        return
    if file is None or kind not in ("quote", "trade", "bar"):
        raise ConfigError(
            f"--source replay needs --file FILE and --kind quote, trade or bar (got --file {file}, --kind {kind})"
        )
    if not file.is_file():
        raise ConfigError(f"--file {file}: there is no such file")


def _mapping(columns: list[str] | None) -> dict[str, str] | None:
    pairs = [part.partition("=") for part in columns or []]
    for field, equals, column in pairs:
        if not (field and equals and column):
            raise ConfigError(f"--map {field}{equals}{column}: write field=column, for example --map price=last_px")
    return {field: column for field, _, column in pairs} or None
