"""A strategy over instruments: each by itself, and all of them with equal parts of the cash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from include.backtest.fills import Costs, Run, simulate
from include.backtest.measures import Measures, measure
from include.backtest.strategy import Params, Strategy, check_signals
from include.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

PORTFOLIO: Final = "portfolio"


@dataclass(frozen=True, slots=True)
class Market:
    """One instrument's candles (UTC, in order), the earlier ones that a strategy looks back on included.

    `start` is where the backtest begins; `a_year` how many candles a year has.
    """

    symbol: str
    candles: pd.DataFrame
    start: datetime
    a_year: float


@dataclass(frozen=True, slots=True)
class Setup:
    """What is the same for all instruments. `cash` is that of each."""

    strategy: Strategy
    params: Params
    costs: Costs
    cash: float
    short: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one instrument, or of the portfolio, which has no params of its own.

    `closes` are what buying and holding is measured by; of a portfolio its worth. A walk-forward has `folds`.
    """

    symbol: str
    params: Params
    run: Run
    closes: pd.Series[float]
    a_year: float
    folds: Sequence[Fold] = ()

    @property
    def measures(self) -> Measures:
        return measure(self.run, self.closes, self.a_year)


@dataclass(frozen=True, slots=True)
class Fold:
    """One step of a walk-forward: `params` did best over `[start, split)`, and were then used over `[split, end)`."""

    start: datetime
    split: datetime
    end: datetime
    params: Params
    in_sample: Measures
    out_of_sample: Measures


def backtest(market: Market, setup: Setup) -> Result:
    """One instrument. Raises ConfigError for too few candles, StrategyError for wrong signals."""
    strategy, params = setup.strategy, setup.params
    check_length(market, strategy, params)
    check_signals(strategy, market.candles, params)
    positions = strategy.positions(market.candles, params, short=setup.short)
    return result(market, setup, params, positions, market.start)


def result(
    market: Market,
    setup: Setup,
    params: Params,
    positions: pd.Series[float],
    start: datetime,
    folds: Sequence[Fold] = (),
) -> Result:
    """From `start` on, with what was wanted before it filled at the first open."""
    since = int(market.candles.index.searchsorted(start))
    held = float(positions.iloc[since - 1]) if since else 0.0
    candles = market.candles.iloc[since:]
    run = simulate(candles, positions.iloc[since:], setup.costs, setup.cash, held=held)
    return Result(market.symbol, params, run, candles["close"], market.a_year, folds)


def check_length(market: Market, strategy: Strategy, params: Params) -> None:
    """Raises ConfigError where there are too few candles for one signal and one fill."""
    count, least = len(market.candles), strategy.warm_up(params) + 1
    if count < least:
        raise ConfigError(
            f"{market.symbol}: {count:,} candles, those before --from included, and {strategy.name} needs {least:,} "
            "for one signal and its fill; take a longer range, a finer --resolution or shorter windows (--params)"
        )


def portfolio(results: Sequence[Result]) -> Result:
    """Equal parts of the cash at the beginning, never balanced anew; one without a candle yet keeps its cash."""
    import pandas as pd

    def together(curves: Mapping[str, pd.Series[float]], first: dict[str, float]) -> pd.Series[float]:
        return pd.DataFrame(curves).ffill().fillna(value=first).sum(axis=1)

    cash = {one.symbol: one.run.cash for one in results}
    held = {one.symbol: one.closes * (one.run.cash / one.closes.iloc[0]) for one in results}
    busy = pd.DataFrame({one.symbol: one.run.held for one in results}).ffill().fillna(0.0)
    run = Run(
        sum(cash.values()),
        together({one.symbol: one.run.equity for one in results}, cash).rename("equity"),
        busy.mean(axis=1).rename("held"),
        tuple(sorted((trade for one in results for trade in one.run.trades), key=lambda trade: trade.entry_time)),
        sum(one.run.costs for one in results),
    )
    return Result(PORTFOLIO, {}, run, together(held, cash), max(one.a_year for one in results))
