"""How the results of a backtest are shown: tables, JSON, CSV, files."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from include.errors import ConfigError

if TYPE_CHECKING:
    from include.backtest.measures import Measures
    from include.backtest.run import Result, Setup
    from include.backtest.strategy import Strategy
    from include.backtest.walk_forward import Windows

_EIGHTHS: Final = "▁▂▃▄▅▆▇█"
_CURVE: Final = 16  # characters
_TRADES: Final = ("symbol", "entry_time", "exit_time", "units", "entry_price", "exit_price", "profit")
_CURVES: Final = ("symbol", "candle_start", "equity", "buy_and_hold")


def title(results: Sequence[Result], setup: Setup, resolution: str, windows: Windows | None) -> str:
    """What was done: strategy, parameters, candles, range, costs."""
    from include.backtest.strategy import say

    first = min(result.closes.index[0] for result in results)
    last = max(result.closes.index[-1] for result in results)
    how = f"walk-forward, {windows}" if windows else say(setup.params)
    return (
        f"{setup.strategy.name} {how} · {resolution} · {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC · "
        f"fee {setup.costs.fee:g} bp, slippage {setup.costs.slippage:g} bp · "
        f"{'long and short' if setup.short else 'long only'}"
    )


def show_tables(results: Sequence[Result], said: str) -> None:
    """The steps of a walk-forward, then a row per instrument and one for the portfolio."""
    from rich.table import Table

    from include.commands.tables import print_table

    for result in results:
        if result.folds:
            _show_folds(result)
    typer.echo(said)
    table = Table(header_style="bold")
    table.add_column("instrument")
    table.add_column("equity")
    for name in ("return", "buy and hold", "drawdown", "Sharpe", "Sortino", "exposure", "trades", "won", "costs"):
        table.add_column(name, justify="right")
    for result in results:
        table.add_row(result.symbol, _curve(result), *_cells(result.measures))
    print_table(table)
    if not any(result.run.trades for result in results):
        typer.echo("There was no signal to follow in this range.")
    typer.echo("What this does not show: docs/backtest.md")


def show_json(results: Sequence[Result], _: str) -> None:
    """One object a line."""
    import orjson

    for result in results:
        typer.echo(orjson.dumps(_fields(result)).decode())


def show_csv(results: Sequence[Result], _: str) -> None:
    """The trades of all instruments."""
    writer = csv.DictWriter(sys.stdout, _TRADES, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row for result in results for row in _trades(result))


def show_strategies(strategies: Mapping[str, Strategy]) -> None:
    """Each with its parameters: default, bounds, and what a walk-forward tries."""
    from rich.table import Table

    from include.commands.tables import print_table

    table = Table("strategy", "parameter", "default", "allowed", "tried", "needs", header_style="bold")
    for strategy in strategies.values():
        table.add_section()
        table.add_row(strategy.name, strategy.text, "", "", "", ", ".join(strategy.needs))
        for one in strategy.parameters:
            tried = ", ".join(f"{value:g}" for value in one.grid)
            table.add_row("", f"{one.name} ({one.text})", f"{one.default:g}", f"{one.low:g} to {one.high:g}", tried, "")
    print_table(table)


def check_files(out: Path | None, equity: Path | None) -> None:
    """Raises ConfigError for a file that cannot be written, before anything is computed."""
    from include.charts.picture import check_path

    if out:
        check_path(out)
    if equity and (equity.is_dir() or not equity.parent.is_dir()):
        raise ConfigError(f"--equity {equity}: is a folder, or lies in none; name a file in a folder that exists")


def write_files(results: Sequence[Result], said: str, out: Path | None, equity: Path | None) -> None:
    """The picture and the curves, as asked."""
    if out:
        from include.backtest.picture import draw
        from include.charts.picture import save

        save(draw(results, said, out.suffix.lower().removeprefix(".")), out)
    if equity:
        try:
            with equity.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(_CURVES)
                writer.writerows(row for result in results for row in _curves(result))
        except OSError as error:
            raise ConfigError(f"--equity {equity}: cannot be written: {error.strerror}") from None


def _show_folds(result: Result) -> None:
    from rich.table import Table

    from include.backtest.strategy import say
    from include.commands.tables import print_table

    typer.echo(f"{result.symbol}, step by step")
    table = Table(header_style="bold")
    for name in ("chosen from", "used from", "until", "parameters"):
        table.add_column(name)
    for name in ("Sharpe when chosen", "Sharpe after", "return when chosen", "return after"):
        table.add_column(name, justify="right")
    for fold in result.folds:
        before, after = fold.in_sample, fold.out_of_sample
        table.add_row(
            *(f"{moment:%Y-%m-%d %H:%M}" for moment in (fold.start, fold.split, fold.end)), say(fold.params),
            _ratio(before.sharpe), _ratio(after.sharpe), _percent(before.total_return), _percent(after.total_return),
        )  # fmt: skip
    print_table(table)


def _cells(measures: Measures) -> tuple[str, ...]:
    won = "" if measures.won is None else f"{measures.won:.0%}"
    return (
        _percent(measures.total_return), _percent(measures.buy_and_hold), _percent(measures.max_drawdown),
        _ratio(measures.sharpe), _ratio(measures.sortino), f"{measures.exposure:.0%}", f"{measures.trades:,}", won,
        f"{measures.costs:,.0f}",
    )  # fmt: skip


def _percent(fraction: float) -> str:
    return f"{100 * fraction:+.2f} %"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _curve(result: Result) -> str:
    """The equity as a line of blocks."""
    equity = result.run.equity.to_numpy()
    points = [float(equity[round(n * (len(equity) - 1) / (_CURVE - 1))]) for n in range(_CURVE)]
    low, high = min(points), max(points)
    if low == high:
        return _EIGHTHS[0] * _CURVE
    return "".join(_EIGHTHS[round((point - low) / (high - low) * 7)] for point in points)


def _fields(result: Result) -> dict[str, Any]:
    return {
        "symbol": result.symbol,
        "params": dict(result.params),
        "first_candle": result.closes.index[0].to_pydatetime(),
        "last_candle": result.closes.index[-1].to_pydatetime(),
        "candles": len(result.closes),
        "cash": result.run.cash,
        **asdict(result.measures),
        "folds": [asdict(fold) for fold in result.folds],
        "trade_list": list(_trades(result)),
    }


def _trades(result: Result) -> Iterator[dict[str, Any]]:
    """Of an instrument; those of a portfolio are its instruments'."""
    from include.backtest.run import PORTFOLIO

    if result.symbol == PORTFOLIO:
        return
    for trade in result.run.trades:
        fields = {"symbol": result.symbol, **trade._asdict()}
        yield {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in fields.items()}


def _curves(result: Result) -> Iterator[tuple[str, str, float, float]]:
    held = result.closes * (result.run.cash / result.closes.iloc[0])
    for (moment, equity), hold in zip(result.run.equity.items(), held, strict=True):
        yield result.symbol, moment.isoformat(), float(equity), float(hold)  # type: ignore[attr-defined]
