"""`quantstream backfill`: any range of the past, from any source, by Airflow or in this process."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from include.errors import ConfigError, NotRunningError, QuantStreamError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from include.events import Window
    from include.instruments import Instrument
    from include.pipeline.history_request import HistoryRequest
    from include.settings import Settings

EPILOG = """
Examples:

  quantstream backfill --from 2026-11-01                                  # until now, from every enabled source

  quantstream backfill --source binance --symbols BTC-USD,ETH-USD --from 2025-01-01 --to 2026-01-01

  quantstream backfill --source kraken --kind trade --from 2026-11-20T14:00 --to 2026-11-20T15:00

  quantstream backfill --from 2026-11-01 --dry-run                        # what would be asked, and whether it fits

  quantstream backfill --gaps                                             # the minutes known as missing, and no other

  quantstream backfill --watch                                            # the one that runs in Airflow

Times are UTC. Ctrl-C ends the watching; in Airflow the backfill goes on.

Exit codes: 0 all of it is in the marts, 1 a day failed or has to wait for its vendor, 2 a wrong setting or argument,
3 something that must run does not, 130 interrupted.
"""
_INTERRUPTED = 130
_PATIENCE_SECONDS = 20.0


class KindName(StrEnum):
    """Kinds of history."""

    bar = "bar"
    trade = "trade"
    quote = "quote"
    action = "action"


def backfill(
    source: Annotated[
        str, typer.Option(help="Sources, with commas. Default: every enabled one that has history.")
    ] = "",
    symbols: Annotated[str, typer.Option(help="Instruments, with commas. Default: all that the source has.")] = "",
    start: Annotated[str, typer.Option("--from", metavar="DATE|TIME", help="The first instant that is wanted.")] = "",
    end: Annotated[
        str, typer.Option("--to", metavar="DATE|TIME", help="The first instant that is not. Default: now.")
    ] = "",
    kind: Annotated[KindName | None, typer.Option(help="Default: what is usual for the source, mostly bars.")] = None,
    reprocess: Annotated[
        bool, typer.Option("--reprocess", help="Ask the vendor again for what is there already.")
    ] = False,
    gaps: Annotated[bool, typer.Option("--gaps", help="Only the minutes that marts.gaps lists as missing.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the days and the expected calls, and do nothing.")
    ] = False,
    here: Annotated[bool, typer.Option("--here", help="In this process, even if Airflow runs.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Watch the backfill that runs in Airflow.")] = False,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Start no more days of the backfill that runs in Airflow.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="A summary as JSON on stdout; progress goes to stderr.")
    ] = False,
) -> None:
    """Bring the past in: fetched, landed in the lake, loaded, audited, and built into the marts like live data.

    What is there already is not asked for again, so the same command may be repeated, and goes on where it stopped.
    With Airflow running it makes a backfill of `market_backfill` there and watches it; else it works by itself, and
    starts the embedded database and the local AWS if they are not up.
    """
    from rich.console import Console

    from include.settings import load_settings

    console, settings = Console(stderr=as_json, highlight=False), load_settings()
    if watch or cancel:
        from include.commands import backfill_watch

        if cancel:
            backfill_watch.cancel(settings, console)
        else:
            _end(backfill_watch.watch_active(settings, console), as_json)
        return
    request = _request(source, symbols, kind, reprocess=reprocess, gaps=gaps)
    window = _window(settings, request, start, end, now=datetime.now(UTC))
    sources = _checked(settings, request)
    if dry_run:
        from include.commands.backfill_plan import show_plan

        show_plan(settings, request, sources, window, console, as_json=as_json)
        return
    if (reason := "" if here else _why_here(settings, sources)) or here:
        from include.commands.backfill_here import bring_here

        if reason:
            console.print(f"[dim]{reason}: done here, in this process[/]", soft_wrap=True)
        _end(bring_here(settings, request, sources, window, console), as_json)
        return
    from include.commands import backfill_watch

    _end(backfill_watch.start_and_watch(settings, request, window, console, ask=not as_json), as_json)


def _end(summary: dict[str, Any], as_json: bool) -> None:
    """Print the summary if it is wanted, and end with its exit code."""
    if as_json:
        typer.echo(json.dumps(summary, default=str, indent=2))
    if summary["interrupted"]:
        raise typer.Exit(_INTERRUPTED)
    raise typer.Exit(0 if summary["complete"] else 1)


def _request(source: str, symbols: str, kind: KindName | None, *, reprocess: bool, gaps: bool) -> HistoryRequest:
    from include.pipeline.history_request import HistoryRequest

    return HistoryRequest(
        sources=_parts(source), symbols=_parts(symbols), kind=kind.value if kind else None,
        reprocess=reprocess, gaps=gaps,
    )  # fmt: skip


def _window(settings: Settings, request: HistoryRequest, start: str, end: str, *, now: datetime) -> Window:
    """What --from and --to say. With --gaps, --from is the oldest gap where it is not given."""
    from include.events import Window, iso
    from include.pipeline.history_request import parse_moment

    now = now.replace(second=0, microsecond=0)
    if start:
        first = parse_moment("--from", start)
    elif request.gaps:
        first = _oldest_gap(settings)
    else:
        raise ConfigError("--from is missing: write a date, as in --from 2026-03-01 (or --watch, or --gaps)")
    last = parse_moment("--to", end) if end else now
    if last <= first:
        raise ConfigError(f"--to {iso(last)} is not after --from {iso(first)}")
    if first >= now:
        raise ConfigError(f"--from {iso(first)} lies in the future; there is no history of it yet")
    return Window(first, min(last, now))


def _oldest_gap(settings: Settings) -> datetime:
    from include.warehouse.db import connect

    with connect(settings) as conn:
        row = conn.execute("select min(gap_start) from marts.gaps").fetchone()
    if row is None or row[0] is None:
        raise QuantStreamError("no gap is known; `quantstream gaps` looks for them")
    return row[0].astimezone(UTC)  # type: ignore[no-any-return]


def _checked(settings: Settings, request: HistoryRequest) -> tuple[str, ...]:
    """The sources that will be asked. Raises ConfigError for what is unknown, or known and of no use here."""
    from include.pipeline.history_request import asked_sources
    from include.sources import HISTORY, NAMES

    if unknown := [name for name in request.sources if name not in NAMES]:
        raise ConfigError(f"--source {', '.join(unknown)}: allowed are {', '.join(NAMES)}")
    without = [name for name in request.sources if name not in HISTORY or not request.asks(name)]
    if without:
        has = "; ".join(f"{name} has {' and '.join(f'{one}s' for one in kinds)}" for name, kinds in HISTORY.items())
        what = f"history of {request.kind}s" if request.kind else "history"
        raise ConfigError(f"--source {', '.join(without)}: there is no {what} ({has})")
    sources = request.sources or tuple(name for name in asked_sources(settings) if request.asks(name))
    if not sources:
        raise ConfigError(
            f"no source of QUANTSTREAM_SOURCES = {','.join(settings.sources)} has history of {request.kind}s; "
            "name one with --source"
        )
    _check_symbols(_instruments(settings), request.symbols, sources)
    return sources


def _check_symbols(instruments: Sequence[Instrument], symbols: tuple[str, ...], sources: tuple[str, ...]) -> None:
    known = {instrument.symbol: instrument for instrument in instruments}
    if unknown := [symbol for symbol in symbols if symbol not in known]:
        capitals = [symbol.upper() for symbol in unknown if symbol.upper() in known]
        hint = f"; write {', '.join(capitals)}" if capitals else f"; known are {', '.join(sorted(known))}"
        raise ConfigError(f"--symbols {', '.join(unknown)}: not among the instruments{hint}")
    if nowhere := [symbol for symbol in symbols if not any(source in known[symbol].ids for source in sources)]:
        raise ConfigError(
            f"--symbols {', '.join(nowhere)}: {' and '.join(sources)} has no id for it in the file of instruments"
        )


def _instruments(settings: Settings) -> Sequence[Instrument]:
    from include.instruments import known_instruments, load_instruments
    from include.warehouse.db import connect

    try:
        with connect(settings) as conn:
            return known_instruments(conn, settings)
    except NotRunningError:
        return load_instruments(settings.instruments_file)


def _why_here(settings: Settings, sources: tuple[str, ...]) -> str:
    """Why Airflow cannot do it; empty if it can. Raises NotRunningError for an Airflow that is only half there."""
    from include.stack.airflow import url
    from include.stack.airflow_api import AirflowApi
    from include.stack.layout import Layout
    from include.stack.secrets import load_secrets

    if foreign := [name for name in sources if name not in settings.sources]:
        return f"{', '.join(foreign)} is not among QUANTSTREAM_SOURCES"
    layout = Layout(settings.home)
    if not layout.secrets.exists():
        return "Airflow does not run"
    with AirflowApi(settings, load_secrets(layout), timeout=10) as api:
        try:
            end = time.monotonic() + _PATIENCE_SECONDS
            while (health := api.health()).get("scheduler") != "healthy" and time.monotonic() < end:
                time.sleep(1)  # on a busy machine it misses a heartbeat now and then
        except NotRunningError:
            return "Airflow does not run"
    if health.get("scheduler") != "healthy":
        raise NotRunningError(
            f"Airflow answers at {url(settings)}, but its scheduler is {health.get('scheduler')}; look at "
            "`quantstream status`, or do it in this process with --here"
        )
    return ""


def _parts(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def whole_minutes(seconds: float) -> str:
    """`0:04:30`, for the screen."""
    return str(timedelta(seconds=round(seconds)))
