"""`quantstream backfill --dry-run`: the days, what is missing in them, and the calls against the vendors' budgets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from include.events import Window
    from include.pipeline.backfill import Plan
    from include.pipeline.history.planning import Day
    from include.pipeline.history_request import HistoryRequest
    from include.settings import Settings

_DAYS_SHOWN: Final = 40
_NAMES_SHOWN: Final = 4


def show_plan(
    settings: Settings,
    request: HistoryRequest,
    sources: tuple[str, ...],
    window: Window,
    console: Console,
    *,
    as_json: bool,
) -> None:
    """Print what a backfill of the window would ask each source for; nothing is fetched.

    Raises ConfigError as the backfill would (a key that is missing), NotRunningError without a warehouse.
    """
    from include.pipeline.backfill import plan

    plans = [
        plan(
            settings, source, window, kind=request.kind, symbols=request.symbols or None,
            reprocess=request.reprocess, gaps=request.gaps,
        )
        for source in sources
    ]  # fmt: skip
    if as_json:
        typer.echo(json.dumps([_plain(one) for one in plans], indent=2))
        return
    from include.commands.tables import print_table

    for one in plans:
        print_table(table(one))
        console.print(total(one), soft_wrap=True)
        console.print()


def table(plan: Plan) -> Table:
    """A row for each day, the first ones where there are many."""
    from rich.table import Table

    found = Table(
        f"{plan.source} {plan.kind}s", "missing", "there", "closed", "calls", box=None, header_style="bold",
    )  # fmt: skip
    for column in found.columns[2:]:
        column.justify = "right"
    for day in plan.days[:_DAYS_SHOWN]:
        found.add_row(_span(day), _missing(day), _count(day.covered), _count(day.closed), _calls(day))
    if len(plan.days) > _DAYS_SHOWN:
        found.add_row(f"and {len(plan.days) - _DAYS_SHOWN} more days (--json lists all)", "", "", "", "")
    return found


def total(plan: Plan) -> str:
    """`7 days lack something: 112 calls. History may use 3,000 of a minute; all of it fits today.`"""
    lacking = sum(bool(day.missing) for day in plan.days)
    if not lacking:
        return f"{plan.source}: nothing is missing, nothing would be asked."
    calls = plan.calls
    if calls is None:
        said = "the calls depend on how many trades there are"
    else:
        weight = f", weight {calls.weight:,}" if calls.weight != calls.calls else ""
        said = f"{calls.calls:,} calls{weight}"
    return f"{plan.source}: {lacking} of {len(plan.days)} days lack something: {said}. {_budget(plan, lacking)}"


def _budget(plan: Plan, lacking: int) -> str:
    room = plan.room
    if room.minute_limit is None and room.day_limit is None:
        return "The vendor's calls are not limited."
    limits = [
        f"{limit:,} a {name} ({left:,} left)"
        for name, limit, left in (
            ("minute", room.minute_limit, room.minute_left), ("day", room.day_limit, room.day_left),
        )
        if limit is not None
    ]  # fmt: skip
    parts = [f"History may use {' and '.join(limits)}"]
    if room.day_limit is not None:
        fitting = plan.days_today
        known = "what fits today is not known" if fitting is None else f"{fitting} of these days fit today"
        parts.append("all of it fits today" if fitting == lacking else f"{known}, the others are deferred")
    if plan.minutes is not None and plan.minutes >= 1:
        parts.append(f"it takes {plan.minutes:,.0f} minutes at the least")
    return "; ".join(parts) + "."


def _span(day: Day) -> str:
    start, end = day.window.start, day.window.end
    whole = start.time() == end.time() and start.hour == start.minute == 0
    return f"{start:%Y-%m-%d}" if whole else f"{start:%Y-%m-%d %H:%M} to {end:%H:%M}"


def _missing(day: Day) -> str:
    symbols = list(dict.fromkeys(symbol for symbol, _ in day.missing))
    if len(symbols) <= _NAMES_SHOWN:
        return ", ".join(symbols)
    return f"{', '.join(symbols[:_NAMES_SHOWN])} and {len(symbols) - _NAMES_SHOWN} more"


def _count(symbols: tuple[str, ...]) -> str:
    return str(len(symbols)) if symbols else ""


def _calls(day: Day) -> str:
    if not day.missing:
        return ""
    return "?" if day.calls is None else f"{day.calls.calls:,}"


def _plain(plan: Plan) -> dict[str, Any]:
    calls = plan.calls
    return {
        "source": plan.source,
        "kind": plan.kind,
        "from": plan.window.start.isoformat(),
        "to": plan.window.end.isoformat(),
        "calls": calls.calls if calls else None,
        "weight": calls.weight if calls else None,
        "days_that_fit_today": plan.days_today,
        "minutes_at_least": plan.minutes,
        "minute_limit": plan.room.minute_limit,
        "minute_left": plan.room.minute_left,
        "day_limit": plan.room.day_limit,
        "day_left": plan.room.day_left,
        "days": [
            {
                "from": day.window.start.isoformat(),
                "to": day.window.end.isoformat(),
                "missing": [
                    {"symbol": symbol, "from": window.start.isoformat(), "to": window.end.isoformat()}
                    for symbol, window in day.missing
                ],
                "covered": list(day.covered),
                "closed": list(day.closed),
                "calls": day.calls.calls if day.calls else None,
            }
            for day in plan.days
        ],
    }
