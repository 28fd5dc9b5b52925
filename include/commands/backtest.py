"""`quantstream backtest`: what following a strategy's signals would have brought."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from include.errors import ConfigError

if TYPE_CHECKING:
    import psycopg
    from rich.progress import Progress

    from include.backtest.run import Market, Result, Setup
    from include.backtest.strategy import Params
    from include.backtest.walk_forward import Windows
    from include.warehouse.candles import Selection

EPILOG = """
Examples:

  quantstream backtest --strategy sma_cross --symbols BTC-USD

  quantstream backtest --strategy ema_cross --symbols BTC-USD,ETH-USD --resolution 5m --fees 5 --out backtest.png

  quantstream backtest --strategy rsi_reversion --params low=25,high=60 --symbols AAPL --csv > trades.csv

  quantstream backtest --symbols BTC-USD --walk-forward --train 5d --test 1d --grid "fast=5,10 slow=20,50"

  quantstream backtest --list               # the strategies and their parameters
"""
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def backtest(
    strategy: Annotated[str, typer.Option("--strategy", "-s", help="Whose signals; --list shows them.")] = "sma_cross",
    symbols: Annotated[str, typer.Option(help="The instruments, as in BTC-USD,AAPL: each, and all together.")] = "",
    params: Annotated[str, typer.Option(help="The strategy's parameters, as in fast=10,slow=50.")] = "",
    resolution: Annotated[str, typer.Option("--resolution", "-r", help="Candles of this length.")] = "1m",
    start: Annotated[str, typer.Option("--from", metavar="DATE|TIME", help="The first candle's start (UTC).")] = "",
    end: Annotated[str, typer.Option("--to", metavar="DATE|TIME", help="Candles before it (UTC).")] = "",
    fees: Annotated[float, typer.Option(min=0, max=1000, help="Of each fill, in basis points.")] = 10.0,
    slippage: Annotated[
        float, typer.Option(min=0, max=1000, help="By how much a fill is worse than the open, in basis points.")
    ] = 1.0,
    cash: Annotated[float, typer.Option(min=1, max=1e12, help="For each instrument.")] = 1_000_000.0,
    short: Annotated[bool, typer.Option("--short", help="Sell short too. Else: long or nothing.")] = False,
    source: Annotated[str, typer.Option(help="Candles of this source. Default: as the indicators choose.")] = "",
    forward: Annotated[
        bool, typer.Option("--walk-forward", help="Choose the parameters over a window, count the next one, and so on.")
    ] = False,
    train: Annotated[str, typer.Option(metavar="SPAN", help="How long parameters are tried: 12h, 5d, 4w.")] = "5d",
    test: Annotated[str, typer.Option(metavar="SPAN", help="How long the best are then used.")] = "1d",
    grid: Annotated[str, typer.Option(help="What is tried, as in 'fast=5,10 slow=20,50'. Default: its own.")] = "",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Draw into this file: .png, .svg or .pdf.")] = None,
    equity: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the equity curves here, as CSV.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line: results with their trades.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="The trades as CSV with a header.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="List the strategies and their parameters.")] = False,
) -> None:
    """Follow a strategy's signals over the candles of the marts: filled at the next open, with fees and slippage.

    A signal is of a candle's close, and filled at the open of the candle after it. All of the cash goes into each
    position. What a backtest does not show: docs/backtest.md.
    """
    from include.backtest.fills import Costs
    from include.backtest.run import Setup
    from include.backtest.strategies import STRATEGIES
    from include.backtest.strategy import find, parse_grid, parse_params
    from include.commands import backtest_output as output
    from include.pipeline.history_request import parse_moment
    from include.settings import load_settings
    from include.warehouse.candles import Selection, check_resolution
    from include.warehouse.db import connect

    if listed:
        output.show_strategies(STRATEGIES)
        return
    if as_json and as_csv:
        raise ConfigError("--json and --csv: give one of them")
    if grid and not forward:
        raise ConfigError(f"--grid {grid}: is for --walk-forward; one set of parameters is --params")
    chosen = find(STRATEGIES, strategy)
    setup = Setup(chosen, parse_params(chosen, params), Costs(fees, slippage), cash, short)
    tried = parse_grid(chosen, grid, setup.params) if forward else [setup.params]
    windows = _windows(train, test) if forward else None
    names = list(dict.fromkeys(part.strip() for part in symbols.split(",") if part.strip()))
    if not names:
        raise ConfigError("--symbols: name one instrument or more, as in --symbols BTC-USD,AAPL")
    since, until = parse_moment("--from", start) if start else None, parse_moment("--to", end) if end else None
    if since and until and until <= since:
        raise ConfigError(f"--to {end} is not after --from {start}")
    output.check_files(out, equity)
    with connect(load_settings(), role="analyst") as conn:
        check_resolution(conn, resolution)
        wanted = [Selection(name, resolution, source) for name in names]
        results = _run(conn, wanted, setup, tried, windows, since, until)
    title = output.title(results, setup, resolution, windows)
    output.write_files(results, title, out, equity)
    show = output.show_json if as_json else output.show_csv if as_csv else output.show_tables
    show(results, title)


def _run(
    conn: psycopg.Connection,
    wanted: Sequence[Selection],
    setup: Setup,
    grid: Sequence[Params],
    windows: Windows | None,
    start: datetime | None,
    end: datetime | None,
) -> list[Result]:
    """A result for each instrument, and with several the portfolio behind them."""
    import pandas as pd

    from include.backtest.run import backtest as run_one
    from include.backtest.run import portfolio
    from include.backtest.walk_forward import split, walk_forward
    from include.pipeline.backtest import read_market

    def one(market: Market) -> Result:
        if windows is None:
            return run_one(market, setup)
        steps = len(list(split(pd.DatetimeIndex(market.candles.index), market.start, windows)))
        with _progress() as progress:
            task = progress.add_task(f"{market.symbol}: {len(grid)} parameters in {steps} windows", total=steps)
            return walk_forward(market, setup, grid, windows, lambda: progress.advance(task))

    markets = [read_market(conn, selection, setup.strategy, grid, start, end) for selection in wanted]
    results = [one(market) for market in markets]
    return [*results, portfolio(results)] if len(results) > 1 else results


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on stderr, which is gone when it is done; none where nobody looks."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        yield progress


def _windows(train: str, test: str) -> Windows:
    from include.backtest.walk_forward import Windows

    return Windows(_span("--train", train), _span("--test", test))


def _span(option: str, text: str) -> timedelta:
    match = re.fullmatch(r"([1-9]\d{0,4})([mhdw])", text.strip())
    if match is None:
        raise ConfigError(f"{option} {text}: write a number and m, h, d or w, as in 12h or 5d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
