"""`quantstream sql`: read-only SQL on the marts."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from include.errors import ConfigError, QuantStreamError
from include.queries import QUERIES

if TYPE_CHECKING:
    import psycopg

EPILOG = """
Examples:

  quantstream sql "select symbol, price, age from latest_quotes order by symbol"

  quantstream sql --format csv "select * from candles_1m where symbol = 'BTC-USD'" > candles.csv

  quantstream sql --format json < query.sql

  quantstream sql --sample top-movers      # one that is ready; docs/analyst_guide.md shows them all
"""


class Format(StrEnum):
    """How rows are written."""

    table = "table"
    csv = "csv"
    json = "json"


SampleName = StrEnum("SampleName", {name.replace("-", "_"): name for name in QUERIES})  # type: ignore[misc]


class QueryError(QuantStreamError):
    """The database refused the query; the text is its own."""


def sql(
    query: Annotated[str, typer.Argument(help="The SQL; '-' or nothing reads it from standard input.")] = "-",
    output: Annotated[
        Format, typer.Option("--format", "-o", help="table, csv, or json (one object a line).")
    ] = Format.table,
    sample: Annotated[
        SampleName | None,
        typer.Option(help="A query that is ready; its SQL goes to stderr."),
    ] = None,
) -> None:
    """Run SQL as the role analyst: it reads the schema marts, and a query ends after some time (30 seconds).

    How long it may take is the setting QUANTSTREAM_ANALYST_STATEMENT_SECONDS.
    """
    from include.settings import load_settings
    from include.warehouse.db import connect

    if sample is not None:
        if query != "-":
            raise ConfigError("a query and --sample: choose one")
        query = QUERIES[sample.value].sql.strip()
        typer.echo(f"-- {QUERIES[sample.value].title}\n{query};\n", err=True)
    elif query == "-":
        if sys.stdin.isatty():
            raise ConfigError('no query: write it as an argument, for example quantstream sql "select 1"')
        query = sys.stdin.read()
    if not query.strip():
        raise ConfigError("the query is empty")
    with connect(load_settings(), role="analyst") as conn:
        columns, rows = _run(conn, query)
    if columns is None:
        typer.echo("done, no rows", err=True)
        return
    show(columns, rows, output)


def show(columns: Sequence[str], rows: Sequence[tuple[Any, ...]], output: Format) -> None:
    """Write rows to standard output."""
    {Format.table: _table, Format.csv: _csv, Format.json: _json}[output](columns, rows)


def _run(conn: psycopg.Connection, query: str) -> tuple[list[str] | None, list[tuple[Any, ...]]]:
    import psycopg

    try:
        cursor = conn.execute(query.encode())  # as it is: no parameters, no placeholders
        while cursor.nextset():  # of several statements the last one is shown
            pass
        if cursor.description is None:
            return None, []
        return [column.name for column in cursor.description], cursor.fetchall()
    except psycopg.errors.QueryCanceled:
        raise QueryError(
            f"the query took longer than the {_allowed(conn)} that the role analyst has; "
            "narrow it by symbol or time (both are indexed)"
        ) from None
    except psycopg.Error as error:
        raise QueryError(_explain(query, error)) from None


def _allowed(conn: psycopg.Connection) -> str:
    row = conn.execute("select current_setting('statement_timeout')").fetchone()
    return str(row[0]) if row else ""


def _explain(query: str, error: psycopg.Error) -> str:
    """The database's words, with the line of the query and a mark under the place where it says the fault is."""
    lines = [f"{error.diag.severity or 'ERROR'}: {error.diag.message_primary or str(error).strip()}"]
    if error.diag.statement_position:
        place = int(error.diag.statement_position) - 1
        start = query.rfind("\n", 0, place) + 1
        lines += [query[start:].splitlines()[0], " " * (place - start) + "^"]
    lines += [
        f"{name}: {text}"
        for name, text in (("DETAIL", error.diag.message_detail), ("HINT", error.diag.message_hint))
        if text
    ]
    return "\n".join(lines)


def _table(columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from include.commands.tables import print_table

    table = Table(*map(escape, columns), header_style="bold")
    for index, column in enumerate(table.columns):
        if (rows and isinstance(rows[0][index], int | float)) or type(
            rows[0][index] if rows else None
        ).__name__ == "Decimal":
            column.justify = "right"
    for row in rows:
        table.add_row(*("" if value is None else escape(_text(value)) for value in row))
    print_table(table)
    Console().print(f"[dim]{len(rows)} row{'' if len(rows) == 1 else 's'}[/]")


def _csv(columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(["" if value is None else _text(value) for value in row] for row in rows)


def _json(columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    import orjson

    for row in rows:
        line = orjson.dumps(dict(zip(columns, row, strict=True)), default=_number_or_text)
        sys.stdout.write(line.decode() + "\n")


def _number_or_text(value: object) -> object:
    from decimal import Decimal

    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return str(value)


def _text(value: object) -> str:
    return value.isoformat(sep=" ") if isinstance(value, datetime) else str(value)
