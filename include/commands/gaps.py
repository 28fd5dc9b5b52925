"""`quantstream gaps`: which minutes are missing, and why."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Final

import typer

from include.errors import ConfigError, LeaseHeldError

if TYPE_CHECKING:
    from include.pipeline.gaps import Gap
    from include.settings import Settings

EPILOG = """
Examples:

  quantstream gaps                          # look for gaps, then list all that are known

  quantstream gaps --source binance --symbol BTC-USD --from 2026-03-01 --to 2026-04-01

  quantstream gaps --reason outage --json | jq -r .gap_start

  quantstream backfill --gaps --source binance --from 2026-03-01    # fetch exactly them
"""
_COLUMNS: Final = (
    "symbol", "source", "calendar", "session_date", "gap_start", "gap_end", "minutes", "reason", "found_at",
)  # fmt: skip
_MOST_SHOWN: Final = 100


class Reason(StrEnum):
    """Why minutes are missing."""

    outage = "outage"
    never_fetched = "never_fetched"
    quarantined = "quarantined"
    unknown = "unknown"


def gaps(
    source: Annotated[str, typer.Option(help="Only this source.")] = "",
    symbol: Annotated[str, typer.Option(help="Only these instruments, as in BTC-USD,AAPL.")] = "",
    start: Annotated[str, typer.Option("--from", metavar="DATE|TIME", help="Only gaps that end after it (UTC).")] = "",
    end: Annotated[str, typer.Option("--to", metavar="DATE|TIME", help="Only gaps that begin before it (UTC).")] = "",
    reason: Annotated[Reason | None, typer.Option(help="Only gaps with this reason.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV with a header.")] = False,
) -> None:
    """Look for gaps in what changed since the last search, then list them: runs of missing minutes, and why.

    Minutes in which the exchange was closed, or in which simply nothing was traded, are no gaps.
    """
    from include.pipeline.gaps import find_gaps, known_gaps
    from include.pipeline.history_request import parse_moment
    from include.settings import load_settings
    from include.warehouse.db import connect

    since, until = parse_moment("--from", start) if start else None, parse_moment("--to", end) if end else None
    if since and until and until <= since:
        raise ConfigError(f"--to {end} is not after --from {start}")
    if as_json and as_csv:
        raise ConfigError("--json and --csv: give one of them")
    settings = load_settings()
    symbols = _checked(settings, source, symbol)
    try:
        find_gaps(settings)
    except LeaseHeldError as error:
        typer.echo(f"{error}; these are the gaps that were known before", err=True)
    with connect(settings) as conn:
        found = known_gaps(
            conn, source=source or None, symbols=symbols, reason=reason and reason.value, start=since, end=until
        )
    if as_json:
        for gap in found:
            typer.echo(json.dumps(_fields(gap)))
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(_fields, found))
    elif found:
        _show(found)
    else:
        typer.echo(f"no gaps{_between(since, until)}")


def _checked(settings: Settings, source: str, symbols: str) -> list[str] | None:
    """The instruments asked for. Raises ConfigError for one that does not exist, and for such a source."""
    from include.instruments import REPLAY, known_instruments
    from include.sources import NAMES
    from include.warehouse.db import connect

    if source and source not in (*NAMES, REPLAY):
        raise ConfigError(f"--source {source}: allowed are {', '.join((*NAMES, REPLAY))}")
    if not symbols:
        return None
    chosen = [part.strip() for part in symbols.split(",") if part.strip()]
    with connect(settings) as conn:
        known = {one.symbol for one in known_instruments(conn, settings)}
    if unknown := [one for one in chosen if one not in known]:
        raise ConfigError(
            f"--symbol {', '.join(unknown)}: not among the instruments; known are {', '.join(sorted(known))}"
        )
    return chosen


def _show(found: Sequence[Gap]) -> None:
    from rich.table import Table

    from include.commands.tables import print_table

    runs = sorted(_joined(found), key=lambda gap: (gap.gap_start, gap.source, gap.symbol))
    table = Table("source", "symbol", "from (UTC)", "to", "minutes", "reason", "known since", box=None)
    table.columns[4].justify = "right"
    for gap in runs[-_MOST_SHOWN:]:
        table.add_row(
            gap.source, gap.symbol, f"{gap.gap_start:%Y-%m-%d %H:%M}", f"{gap.gap_end:%Y-%m-%d %H:%M}",
            f"{gap.minutes:,}", gap.reason, f"{gap.found_at:%Y-%m-%d %H:%M}",
        )  # fmt: skip
    print_table(table)
    if len(runs) > _MOST_SHOWN:
        typer.echo(f"({len(runs) - _MOST_SHOWN:,} earlier ones are not shown; --csv has them all)")
    typer.echo("")
    for source, its in groupby(found, key=lambda gap: gap.source):
        typer.echo(_summary(source, list(its)))


def _summary(source: str, found: Sequence[Gap]) -> str:
    """`binance: 412 minutes of 3 instruments are missing (outage 400, unknown 12); quantstream backfill ...`"""
    from include.sources import HISTORY

    minutes: Counter[str] = Counter()
    for gap in found:
        minutes[gap.reason] += gap.minutes
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in minutes.most_common())
    symbols = len({gap.symbol for gap in found})
    said = f"{source}: {minutes.total():,} minutes of {symbols} instrument{'s' * (symbols > 1)} are missing ({reasons})"
    if source not in HISTORY:
        return f"{said}; it has no history to fetch them from"
    first = min(gap.gap_start for gap in found)
    return f"{said}; quantstream backfill --gaps --source {source} --from {first:%Y-%m-%d}"


def _joined(found: Iterable[Gap]) -> list[Gap]:
    """Gaps of a series that go on over midnight without a break, as one."""
    joined: list[Gap] = []
    for gap in found:
        last = joined[-1] if joined else None
        goes_on = (gap.source, gap.symbol, gap.reason, gap.gap_start)
        if last and (last.source, last.symbol, last.reason, last.gap_end) == goes_on:
            since = min(last.found_at, gap.found_at)
            joined[-1] = replace(last, gap_end=gap.gap_end, minutes=last.minutes + gap.minutes, found_at=since)
        else:
            joined.append(gap)
    return joined


def _between(since: datetime | None, until: datetime | None) -> str:
    if since and until:
        return f" between {since:%Y-%m-%d %H:%M} and {until:%Y-%m-%d %H:%M} UTC"
    if since or until:
        return f" after {since:%Y-%m-%d %H:%M} UTC" if since else f" before {until:%Y-%m-%d %H:%M} UTC"
    return " in all that is there"


def _fields(gap: Gap) -> dict[str, object]:
    values = {name: getattr(gap, name) for name in _COLUMNS}
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in values.items()}
