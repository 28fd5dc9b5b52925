"""`quantstream space`: what the warehouse takes on disk, table by table."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from include.warehouse.space import Space

EPILOG = """
Examples:

  quantstream space                                     # the largest tables

  quantstream space --all --json | jq .tables
"""
_MIB: Final = 2**20
_SHOWN: Final = 12


def space(
    everything: Annotated[bool, typer.Option("--all", help="Every table, the small ones too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object; sizes in bytes.")] = False,
) -> None:
    """Rows, tables, indexes, partitions (in TimescaleDB chunks), what compression saves; all of it per million events.

    Rows are as the last statistics have them.
    """
    from include.commands.tables import print_table
    from include.settings import load_settings
    from include.warehouse.db import connect
    from include.warehouse.space import read_space

    with connect(load_settings()) as conn:
        found = read_space(conn)
    if as_json:
        typer.echo(json.dumps({"per_million_events": per_million(found), "tables": [asdict(one) for one in found]}))
        return
    print_table(_table(found if everything else found[:_SHOWN]))
    total = sum(one.total_bytes for one in found)
    typer.echo(f"{len(found)} tables take {total / _MIB:,.0f} MiB")
    if (share := per_million(found)) is not None:
        typer.echo(f"a million events take {share / _MIB:,.0f} MiB, raw, marts and indexes together")


def per_million(found: Sequence[Space]) -> int | None:
    """Bytes of all tables for each million of raw events; None while there are fewer than a thousand."""
    events = next((one.rows for one in found if one.name == "raw.market_events"), 0)
    return round(sum(one.total_bytes for one in found) / events * 1_000_000) if events >= 1000 else None


def _table(found: Sequence[Space]) -> Table:
    from rich.table import Table

    names = ("rows", "table MiB", "index MiB", "parts", "compressed", "before MiB", "after MiB")
    table = Table("table", box=None, header_style="dim")
    for name in names:
        table.add_column(name, justify="right")
    for one in found:
        packed = (str(one.compressed), _mib(one.before_bytes), _mib(one.after_bytes)) if one.compressed else ("",) * 3
        table.add_row(
            one.name, f"{one.rows:,}", _mib(one.table_bytes), _mib(one.index_bytes), str(one.parts or ""), *packed
        )
    return table


def _mib(size: int) -> str:
    return f"{size / _MIB:,.1f}"
