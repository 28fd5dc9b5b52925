"""`quantstream chart`: candles, indicators and alerts of one instrument, in the terminal or as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from include.errors import ConfigError

if TYPE_CHECKING:
    from include.charts.series import Series

EPILOG = """
Examples:

  quantstream chart BTC-USD                                     # the last 120 minutes, here

  quantstream chart BTC-USD --resolution 5m --indicators sma,bollinger --out chart.png

  quantstream chart AAPL --indicators vwap --from 2026-03-02T14:30 --to 2026-03-02T21:00 --out chart.svg

  quantstream chart ETH-USD --source kraken --candles 60
"""
_PROMPT_ROWS = 2  # left free in a terminal, for the prompt


def chart(
    symbol: Annotated[str, typer.Argument(help="The instrument, as in BTC-USD.")],
    resolution: Annotated[
        str, typer.Option("--resolution", "-r", help="How long a candle is: any of which there is a table of candles.")
    ] = "1m",
    indicators: Annotated[
        str, typer.Option("--indicators", "-i", help="Lines over the candles, with commas: sma, ema, bollinger, vwap.")
    ] = "",
    start: Annotated[str, typer.Option("--from", metavar="DATE|TIME", help="The first candle's start (UTC).")] = "",
    end: Annotated[str, typer.Option("--to", metavar="DATE|TIME", help="Candles before it (UTC).")] = "",
    candles: Annotated[
        int | None,
        typer.Option("--candles", "-n", min=1, max=5000, help="The last so many. Default: 120; with --from: all."),
    ] = None,
    source: Annotated[
        str, typer.Option(help="Candles of this source. Default: as for the indicators, the primary one first.")
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Draw into this file: .png, .svg or .pdf. What is there is overwritten."),
    ] = None,
) -> None:
    """Draw candles with volume, indicators and alerts of one instrument: in the terminal, or with --out into a file.

    Times are UTC. BUY and SELL are marked below and above their candle, other alerts as diamonds.
    """
    from include.charts.indicators import parse_indicators
    from include.charts.picture import check_path, write
    from include.charts.series import Request, read
    from include.pipeline.history_request import parse_moment
    from include.settings import load_settings
    from include.warehouse.db import connect

    since, until = parse_moment("--from", start) if start else None, parse_moment("--to", end) if end else None
    if since and until and until <= since:
        raise ConfigError(f"--to {end} is not after --from {start}")
    request = Request(symbol, resolution, source, since, until, candles, parse_indicators(indicators))
    if out:
        check_path(out)
    with connect(load_settings(), role="analyst") as conn:
        series = read(conn, request)
    if out:
        write(series, out)
        typer.echo(f"{out}: {_summary(series)}")
    else:
        _show(series)


def _summary(series: Series) -> str:
    """`120 candles, 3 alerts`, and what of them cannot be seen."""
    from include.charts.layout import marks

    count, alerts = len(series.candles), len(series.alerts)
    said = f"{count:,} candle{'' if count == 1 else 's'}, {alerts:,} alert{'' if alerts == 1 else 's'}"
    if alerts and not marks(series):
        said += " (of minutes that have no candle here)"
    return said if series.candles["is_final"].iloc[-1] else f"{said}; the last candle is not final yet"


def _show(series: Series) -> None:
    from rich.console import Console

    from include.charts.terminal import render

    console = Console()
    height = console.size.height - _PROMPT_ROWS * console.is_terminal
    has_colour = console.is_terminal and not console.no_color
    text, shown = render(series, console.size.width, height, colour=has_colour)
    typer.echo(text)
    hidden = len(series.candles) - len(shown.candles)
    typer.echo(
        _summary(shown) + (f"; {hidden:,} earlier ones do not fit in {console.size.width} columns" * bool(hidden))
    )
