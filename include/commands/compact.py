"""`quantstream compact`: raw JSON of the lake into Parquet, by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from include.errors import ConfigError

if TYPE_CHECKING:
    from include.settings import Settings

EPILOG = """
Examples:

  quantstream compact                            # every day that is over and has objects not yet in Parquet

  quantstream compact --today                    # the running day too; it is done once more when it is over

  quantstream compact --day 2026-11-20 --again   # one day anew, whatever the ledger says

  quantstream compact --list                     # which days there are

  quantstream compact --verify --day 2026-11-20  # read its files and hold them against the ledger

Days are days of arrival, UTC. The DAG lake_compact does the first of these every night.
"""


def compact(
    day: Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="One day of arrival.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Make the day anew, even if nothing is new.")] = False,
    today: Annotated[bool, typer.Option("--today", help="The running day too.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the days, and what is in Parquet of each.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the Parquet files of the day; change nothing.")
    ] = False,
) -> None:
    """Make Parquet of raw JSON: typed, sorted, checked against what came in. Safe to repeat."""
    from include.pipeline import compact as pipeline
    from include.settings import load_settings

    chosen = _day(day)
    if (again or verify) and chosen is None:
        raise ConfigError("--again and --verify need a day: --day YYYY-MM-DD")
    settings = load_settings()
    if list_:
        _list(settings)
    elif chosen is None:
        reports = pipeline.compact_due(settings, running=today)
        for report in reports:
            typer.echo(report)
        if not reports:
            typer.echo("every day that is over is in Parquet" if not today else "everything is in Parquet")
    elif verify:
        typer.echo(f"{chosen}: {pipeline.verify(settings, chosen)} files are as they were written")
    else:
        typer.echo(pipeline.compact(settings, chosen, again=again))


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        chosen = date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--day {text!r} is no day; write it like 2026-11-20") from None
    if chosen > datetime.now(UTC).date():
        raise ConfigError(f"--day {text}: that day is not yet")
    return chosen


def _list(settings: Settings) -> None:
    from rich.table import Table

    from include.aws import client
    from include.commands.tables import print_table
    from include.lake import objects
    from include.pipeline.compact import due
    from include.warehouse import lake_ledger
    from include.warehouse.db import connect

    waiting = set(due(settings))
    with connect(settings) as conn:
        done = lake_ledger.days(conn)
    table = Table("arrived", "state", "objects", "raw bytes", "rows", "repeats", "no events", "files", "bytes")
    for column in table.columns[2:]:
        column.justify = "right"
    for day in objects.days(client(settings, "s3"), settings.bucket):
        known = done.get(day)
        state = "due: more came" if known and day in waiting else "due" if day in waiting else "done"
        numbers = (
            known.object_count, known.raw_bytes, known.row_count, known.repeated_count, known.malformed_count,
            known.file_count, known.parquet_bytes,
        ) if known else ()  # fmt: skip
        table.add_row(str(day), state, *(f"{number:,}" for number in numbers))
    print_table(table)
