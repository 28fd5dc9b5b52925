"""`quantstream loads`: the ledger of loads, and bringing in a rejected one."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from include.warehouse.ledger import Load

app = typer.Typer(help="The ledger of loads; a rejected load waits here for a decision.", no_args_is_help=True)

_LIST_EPILOG = """
Examples:

  quantstream loads list --state rejected

  quantstream loads list --limit 100 --json | jq .origin
"""
_SHOW_EPILOG = """
Example:

  quantstream loads show 17                 # counts, and each expectation that failed
"""
_ACCEPT_EPILOG = """
Example:

  quantstream loads accept 17               # its bad rows go to quarantine, the rest comes in
"""


class State(StrEnum):
    """States of a load."""

    landed = "landed"
    accepted = "accepted"
    rejected = "rejected"
    transformed = "transformed"


@app.command("list", epilog=_LIST_EPILOG)
def list_loads(
    state: Annotated[State | None, typer.Option(help="Only loads in this state.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="The newest so many.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """The newest loads, oldest first."""
    from rich.table import Table

    from include.commands.tables import print_table
    from include.settings import load_settings
    from include.warehouse.db import connect
    from include.warehouse.ledger import loads

    with connect(load_settings()) as conn:
        found = loads(conn, None if state is None else state.value, limit=limit)
    if as_json:
        for load in found:
            typer.echo(_json(load))
        return
    columns = ("load", "lane", "state", "loaded (UTC)", "read", "inserted", "duplicates", "quarantined", "origin")
    table = Table(*columns, box=None)
    for load in found:
        counts = (load.read_count, load.inserted_count, load.duplicate_count, load.quarantined_count)
        texts = ["" if count is None else f"{count:,}" for count in counts]
        lane = "live" if load.is_live else "history"
        table.add_row(str(load.load_id), lane, load.state, f"{load.loaded_at:%Y-%m-%d %H:%M:%S}", *texts, load.origin)
    print_table(table)


@app.command(epilog=_SHOW_EPILOG)
def show(
    load_id: Annotated[int, typer.Argument(help="The number of the load.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """One load: where it came from, its counts, and each expectation that failed."""
    from include.settings import load_settings
    from include.warehouse.db import connect
    from include.warehouse.ledger import get_load

    with connect(load_settings()) as conn:
        load = get_load(conn, load_id)
    if as_json:
        typer.echo(_json(load))
        return
    for name, value in asdict(load).items():
        if name != "failures" and value is not None:
            typer.echo(f"{name.removesuffix('_count').replace('_', ' '):14} {value}")
    for failure in load.failures:
        typer.echo("failed         " + ", ".join(f"{name}: {value}" for name, value in failure.items()))


@app.command(epilog=_ACCEPT_EPILOG)
def accept(load_id: Annotated[int, typer.Argument(help="The number of a rejected load.")]) -> None:
    """Bring a rejected load in after all. Rows that fail on their own still go to quarantine."""
    from include.pipeline.audit import accept_rejected
    from include.pipeline.keepsakes import keep
    from include.settings import load_settings

    settings = load_settings()
    typer.echo(str(accept_rejected(settings, load_id)))
    keep(settings)  # so that a rebuild decides the same
    typer.echo("The next run of market_transform takes it.")


def _json(load: Load) -> str:
    return json.dumps(
        asdict(load), default=lambda value: value.isoformat() if isinstance(value, datetime) else str(value)
    )
