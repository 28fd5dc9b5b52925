"""`quantstream status`: how the platform does."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from include.stack.status import Status

EPILOG = """
Examples:

  quantstream status

  quantstream status --json | jq .problems

  quantstream status > /dev/null || echo "look at it"

Exit codes: 0 healthy, 1 degraded, 3 not running.
"""
_COLOURS = {"healthy": "green", "degraded": "yellow", "not running": "red"}
_GAPS_SHOWN = 10


def status(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for scripts.")] = False,
) -> None:
    """How the platform does: processes, runs, exchanges, vendors, lag, freshness, alerts, missing intervals, loads."""
    from rich.console import Console

    from include.settings import load_settings
    from include.stack.status import EXIT_CODES, read_status

    found = read_status(load_settings())
    if as_json:
        typer.echo(json.dumps(_plain(found), default=_text, indent=2))
    else:
        _show(found, Console())
    raise typer.Exit(EXIT_CODES[found.health])


def _plain(found: Status) -> dict[str, Any]:
    return asdict(found) | {"missing_intervals": found.missing_intervals}


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _show(found: Status, console: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    console.print(f"[bold {_COLOURS[found.health]}]{found.health}[/]  [dim]{escape(found.home)}[/]", soft_wrap=True)
    for problem in found.problems:
        console.print(f"  [yellow]![/] {escape(problem)}", highlight=False, soft_wrap=True)
    if found.health == "not running":
        return
    table = Table("process", "state", "pid", "up", box=None, header_style="dim")
    for process in found.processes:
        table.add_row(process.name, process.state.lower(), str(process.pid or ""), _span(process.uptime_seconds))
    console.print(table)
    if found.runs:
        table = Table("DAG", "last run", "state", "seconds", box=None, header_style="dim")
        for dag_id, run in found.runs.items():
            took = (run.ended - run.started).total_seconds() if run and run.started and run.ended else None
            table.add_row(
                dag_id + (" (paused)" if dag_id in found.paused else ""),
                f"{run.run_after:%Y-%m-%d %H:%M:%S}" if run else "never",
                run.state if run else "",
                f"{took:.1f}" if took is not None else "",
            )
        console.print(table)
    for table in (_exchanges(found), _vendors(found), _collectors(found)):
        if table.row_count:
            console.print(table)
    console.print(_facts(found))


def _exchanges(found: Status) -> Table:
    from rich.table import Table

    table = Table("exchange", "state", "until", box=None, header_style="dim")
    for one in found.exchanges:
        until = f"{one.changes_at:%a %Y-%m-%d %H:%M} UTC" if one.changes_at else "always"
        table.add_row(one.calendar, "open" if one.is_open else "closed", until)
    return table


def _vendors(found: Status) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table("vendor", "circuit", "this minute", "24 hours", "", box=None, header_style="dim")
    for one in found.vendors:
        said = ""
        if one.since and one.until:
            said = f"since {one.since:%H:%M:%S}, until {one.until:%H:%M:%S} UTC: {one.reason}"
        elif one.break_until:
            said = f"asked for a break until {one.break_until:%H:%M:%S} UTC: {one.break_reason}"
        table.add_row(
            one.vendor, one.circuit, _used(one.minute_used, one.minute_limit), _used(one.day_used, one.day_limit),
            escape(said),
        )  # fmt: skip
    return table


def _used(used: int, limit: int | None) -> str:
    return f"{used:,} calls" if limit is None else f"{used:,} of {limit:,} calls"


def _collectors(found: Status) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table("collector", "last report", "", box=None, header_style="dim")
    for one in found.collectors:
        said = f"{one.trades:,} trades" if one.ok else one.error or "failed"
        table.add_row(one.exchange, _age(one.at, found.at), escape(said))
    return table


def _facts(found: Status) -> Table:
    from rich.table import Table

    lag = "nothing landed yet"
    if found.lag is not None:
        behind = f"{found.lag.records:,} records, {_span(found.lag.seconds)} behind"
        lag = behind if found.lag.records or found.lag.seconds else "none"
        lag += f" (landing of {found.lag.at:%H:%M:%S} UTC, {found.lag.shards} shards)"
    pace = "no cycle yet"
    if found.pace is not None:
        pace = f"{found.pace.last:.1f} s; median {found.pace.p50:.1f} s, 95 of 100 within {found.pace.p95:.1f} s"
    old = f" (written down, too old to send: {found.alerts_too_old:,})" if found.alerts_too_old else ""
    dead = f", dead {found.dead_alerts:,}" if found.dead_alerts else ""
    delay = "no alert in the last hour"
    if found.alert_latency is not None:
        one = found.alert_latency
        delay = f"median {one.p50:.1f} s, 95 of 100 within {one.p95:.1f} s ({one.alerts:,} in the last hour)"
    table = Table.grid(padding=(0, 2))
    for name, value in (
        ("stream lag", lag),
        ("last cycle", pace),
        ("newest quote", _age(found.newest_quote, found.at)),
        ("newest candle", _age(found.newest_candle, found.at)),
        ("unsent alerts", f"{found.unsent_alerts:,}{dead}{old}"),
        ("candle to SNS", delay),
        ("rejected loads", str(found.rejected_loads)),
        ("missing intervals", f"{found.missing_intervals} in the last 24 hours" if found.missing else "none"),
    ):
        table.add_row(f"[dim]{name}[/]", value)
    for gap in found.missing[:_GAPS_SHOWN]:
        times = f"{gap.start:%Y-%m-%d %H:%M:%S} to {gap.end:%H:%M:%S} UTC"
        table.add_row("", f"{gap.source}: {times} ({gap.intervals})")
    if len(found.missing) > _GAPS_SHOWN:
        table.add_row("", f"and {len(found.missing) - _GAPS_SHOWN} more gaps (--json lists all)")
    return table


def _age(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return "none yet"
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC, {_span(max(0.0, (now - moment).total_seconds()))} ago"


def _span(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
