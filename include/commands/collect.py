"""`quantstream collect`: an exchange's trades as they happen, for as long as it runs."""

from __future__ import annotations

import logging
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, cast

import typer

from include.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from include.feeds.base import Stream
    from include.pipeline.collector.telling import Progress

EPILOG = """
Examples:

  quantstream collect binance --symbols BTC-USD,ETH-USD

  quantstream collect coinbase                               # all instruments that have an id there

  quantstream collect binance --streams trades,bars,quotes

  QUANTSTREAM_COLLECT=binance,kraken quantstream up          # as services of the local stack

Ctrl-C or SIGTERM ends it: what is there is sent, or kept on disk for the next start.

Exit codes: 0 stopped as asked, 1 another collector of this exchange runs or the disk cannot be used, 2 a wrong option,
3 the warehouse does not answer.
"""


def collect(
    exchange: Annotated[str, typer.Argument(help="binance, coinbase or kraken.")],
    symbols: Annotated[str, typer.Option(help="Instruments, with commas. Default: all that have an id there.")] = "",
    streams: Annotated[
        str, typer.Option(help="trades; binance also: bars (closed minutes), quotes (best bid and ask).")
    ] = "trades",
) -> None:
    """Collect an exchange's trades over its WebSocket into the stream, where `market_ingest` lands them."""
    from include.feeds.base import STREAMS
    from include.pipeline.collect import collect as run
    from include.settings import load_settings

    wanted = _parts(streams)
    if unknown := [one for one in wanted if one not in STREAMS]:
        raise ConfigError(f"--streams {', '.join(unknown)}: allowed are {', '.join(STREAMS)}")
    settings = load_settings()
    with ExitStack() as stack:
        on_progress: Callable[[Progress], None] | None = None
        if sys.stdout.isatty():
            from rich.console import Console

            status = stack.enter_context(Console().status(f"{exchange}: connecting"))
            on_progress = lambda progress: status.update(line(progress))  # noqa: E731  # the one thing it does
        else:
            logging.getLogger("include").setLevel(settings.log_level)
        report = run(
            settings, exchange, symbols=_parts(symbols), streams=cast("list[Stream]", wanted), on_progress=on_progress
        )
    typer.echo(str(report))


def line(progress: Progress) -> str:
    """One line for a terminal: what comes, what waits, what is wrong."""
    from rich.markup import escape

    shown = (
        f"{progress.exchange}: {progress.rows:,} events, {progress.rows_per_second:,.0f}/s, "
        f"{progress.pending + progress.spooled:,} waiting, {progress.lag_seconds:.1f} s old"
    )
    return shown + (f"  [yellow]{escape(progress.trouble)}[/]" if progress.trouble else "")


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
