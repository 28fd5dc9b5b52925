"""`quantstream athena`: SQL on the lake."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from include.commands.sql import Format, show
from include.errors import ConfigError
from include.lake.samples import SAMPLES
from include.lake.samples import sql as sample_sql

if TYPE_CHECKING:
    from rich.console import Console

    from include.lake.athena import Answer
    from include.settings import Settings

EPILOG = """
Examples:

  quantstream athena "select symbol, count(*) from trades where dt = '2026-11-20' group by symbol"

  quantstream athena --sample top-movers

  quantstream athena --sample top-movers --raw        # the same on raw JSON: compare the bytes

  quantstream athena --csv "select * from bars where dt >= '2026-11-01'" > bars.csv

Tables: quotes, trades, bars, actions (Parquet, a folder per event date: dt) and raw_events (JSON, a folder per hour of
arrival: dt and hh). On real AWS every query costs what it scans; name days and columns.
"""


class SampleName(StrEnum):
    """The samples there are."""

    quick_look = "quick-look"
    top_movers = "top-movers"
    average_volume = "average-volume"
    big_moves = "big-moves"


def athena(
    query: Annotated[str, typer.Argument(help="The SQL; '-' or nothing reads it from standard input.")] = "-",
    sample: Annotated[
        SampleName | None, typer.Option(help="A query that is ready, instead of one of your own.")
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="The sample on raw JSON instead of Parquet.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Write CSV.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Write one JSON object a line.")] = False,
) -> None:
    """Run SQL on the lake by Athena, and say how many bytes it scanned."""
    from rich.console import Console

    from include.settings import load_settings

    if csv and json:
        raise ConfigError("--csv and --json: choose one")
    text = _text(query, sample, raw=raw)
    console = Console(stderr=True)
    if sample is not None:
        console.print(f"[dim]{SAMPLES[sample.value].title}[/]\n{text}\n", highlight=False)
    answer = _run(load_settings(), text, console)
    show(answer.columns, answer.rows, Format.csv if csv else Format.json if json else Format.table)
    counted = "" if answer.is_reported else " (computed: the local Athena does not count them)"
    console.print(f"[dim]{answer.seconds:.1f} s, {answer.scanned:,} bytes scanned{counted}[/]", highlight=False)


def _text(query: str, sample: SampleName | None, *, raw: bool) -> str:
    if sample is not None:
        if query != "-":
            raise ConfigError("a query and --sample: choose one")
        return sample_sql(sample.value, on_raw=raw)
    if raw:
        raise ConfigError("--raw belongs to --sample; in a query of your own write `from raw_events`")
    if query == "-":
        if sys.stdin.isatty():
            raise ConfigError(
                "no query: write it as an argument (quantstream athena --help has examples), "
                f"or take one that is ready: --sample {', '.join(SAMPLES)}"
            )
        query = sys.stdin.read()
    if not query.strip():
        raise ConfigError("the query is empty")
    return query.strip().rstrip(";")


def _run(settings: Settings, text: str, console: Console) -> Answer:
    """Run it while a line tells how it goes, where there is a screen."""
    from include.lake.athena import run

    with console.status("sent") as line:
        return run(settings, text, progress=lambda state, seconds: line.update(f"{state.lower()}, {seconds:.0f} s"))
