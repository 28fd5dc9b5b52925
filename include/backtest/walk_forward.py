"""Walk-forward: parameters are chosen over a window, then used over the next one, which they have never seen.

Only what came after the choice is counted. The choice and what it is used on move on together, window by window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from include.backtest.fills import simulate
from include.backtest.measures import Measures
from include.backtest.run import Fold, Market, Result, Setup, check_length, result
from include.backtest.strategy import Params, check_signals
from include.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Windows:
    """How long parameters are tried, and how long the best are then used."""

    train: timedelta
    test: timedelta

    def __str__(self) -> str:
        return f"train {_say(self.train)}, test {_say(self.test)}"


def walk_forward(
    market: Market, setup: Setup, grid: Sequence[Params], windows: Windows, done: Callable[[], None] = lambda: None
) -> Result:
    """The run over all test windows, one after another, with the parameters of each; `done` is called after each.

    The best are those with the highest Sharpe ratio over the train window, of equals the first in the grid.
    Raises ConfigError where the range does not hold one train window and a candle behind it.
    """
    import pandas as pd

    spans = list(split(pd.DatetimeIndex(market.candles.index), market.start, windows))
    if not spans:
        last = market.candles.index[-1]
        raise ConfigError(
            f"{market.symbol}: nothing is left to test on: the candles go from {market.start:%Y-%m-%d %H:%M} to "
            f"{last:%Y-%m-%d %H:%M} UTC, and --train is {_say(windows.train)}; take a longer range or a shorter --train"
        )
    for params in grid:
        check_length(market, setup.strategy, params)
        check_signals(setup.strategy, market.candles, params)
    folds: list[Fold] = []
    parts: list[pd.Series[float]] = []
    for start, middle, end in spans:
        params, in_sample = _best(_until(market, middle), setup, grid, start)
        positions = setup.strategy.positions(_until(market, end).candles, params, short=setup.short)
        tried = result(_until(market, end), setup, params, positions, middle)
        folds.append(Fold(start, middle, end, params, in_sample, tried.measures))
        # What is wanted after the candle before a window is filled at its first open: each window has its own before.
        parts.append(positions.shift(1, fill_value=0.0)[positions.index >= middle])
        done()
    return _joined(market, setup, parts, folds)


def split(index: pd.DatetimeIndex, start: datetime, windows: Windows) -> Iterator[tuple[datetime, datetime, datetime]]:
    """(start, middle, end) of each step, half-open, as far as there are two candles to train and one to test on."""
    while start + windows.train <= index[-1]:
        middle = start + windows.train
        end = middle + windows.test
        first, split_at, last = (int(index.searchsorted(moment)) for moment in (start, middle, end))
        if split_at - first >= 2 and last > split_at:
            yield start, middle, end
        start += windows.test


def _best(market: Market, setup: Setup, grid: Sequence[Params], start: datetime) -> tuple[Params, Measures]:
    found: list[tuple[float, Params, Measures]] = []
    for params in grid:
        positions = setup.strategy.positions(market.candles, params, short=setup.short)
        measures = result(market, setup, params, positions, start).measures
        found.append((-math.inf if measures.sharpe is None else measures.sharpe, params, measures))
    _, params, measures = max(found, key=lambda one: one[0])
    return params, measures


def _until(market: Market, end: datetime) -> Market:
    """Nobody sees what is later."""
    known = int(market.candles.index.searchsorted(end))
    return Market(market.symbol, market.candles.iloc[:known], market.start, market.a_year)


def _say(span: timedelta) -> str:
    """`5 d`, `12 h`, `90 min`."""
    minutes = span // timedelta(minutes=1)
    size, unit = next((size, unit) for size, unit in ((1440, "d"), (60, "h"), (1, "min")) if minutes % size == 0)
    return f"{minutes // size} {unit}"


def _joined(market: Market, setup: Setup, parts: Sequence[pd.Series[float]], folds: Sequence[Fold]) -> Result:
    """One run over all test windows: what is still held when the next one begins is kept or changed at its open."""
    import pandas as pd

    fills = pd.concat(parts)
    candles = market.candles.loc[fills.index]
    wanted = fills.shift(-1, fill_value=0.0)  # as said after the candle before
    run = simulate(candles, wanted, setup.costs, setup.cash, held=float(fills.iloc[0]))
    return Result(market.symbol, {}, run, candles["close"], market.a_year, folds)
