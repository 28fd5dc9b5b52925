"""Numbers about an equity curve. Each says when it has no value (None); none is ever NaN or infinite."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from include.calendars import ALWAYS, AROUND_THE_CLOCK

if TYPE_CHECKING:
    import pandas as pd

    from include.backtest.fills import Run

_DAY: Final = 1440  # minutes
_SESSION: Final = 390


@dataclass(frozen=True, slots=True)
class Measures:
    """All as fractions. `sharpe` is None where no return differs from another, `sortino` where no candle lost.

    `won` is the part of the closed trades that brought money, None without one; `costs` are fees and slippage in money.
    """

    total_return: float
    buy_and_hold: float
    max_drawdown: float
    sharpe: float | None
    sortino: float | None
    exposure: float
    trades: int
    won: float | None
    costs: float
    final_equity: float


def candles_a_year(calendar: str, minutes: int) -> float:
    """How many candles of so many minutes a year has, as dbt's macro of this name: trading minutes, not all of them."""
    if calendar == ALWAYS:
        return 365 * _DAY / minutes
    if calendar in AROUND_THE_CLOCK:
        return 260 * _DAY / minutes
    return 252 if minutes == _DAY else 252 * _SESSION / minutes


def measure(run: Run, closes: pd.Series[float], a_year: float) -> Measures:
    """What a run was worth beside its closes. Buying and holding is from the first close to the last, without costs."""
    closed = [trade.profit for trade in run.trades if trade.exit_time is not None]
    sharpe, sortino = ratios(run.equity, run.cash, a_year)
    final = float(run.equity.iloc[-1])
    return Measures(
        total_return=final / run.cash - 1,
        buy_and_hold=float(closes.iloc[-1] / closes.iloc[0] - 1),
        max_drawdown=float(drawdowns(run.equity, run.cash).min()),
        sharpe=sharpe,
        sortino=sortino,
        exposure=float(run.held.mean()),
        trades=len(closed),
        won=sum(profit > 0 for profit in closed) / len(closed) if closed else None,
        costs=run.costs,
        final_equity=final,
    )


def drawdowns(equity: pd.Series[float], cash: float) -> pd.Series[float]:
    """By how much the equity is below the most there was, the cash included: 0 or less."""
    return equity / equity.cummax().clip(lower=cash) - 1


def ratios(equity: pd.Series[float], cash: float, a_year: float) -> tuple[float | None, float | None]:
    """Sharpe and Sortino of the returns by candle, a year, against no return at all.

    Sharpe: mean / standard deviation of the sample * sqrt(a_year). Sortino: mean / root of the mean square of the
    losses (0 where there was none) * sqrt(a_year).
    """
    before = equity.shift(1, fill_value=cash)
    returns = (equity / before.where(before > 0) - 1).fillna(0.0)
    mean = float(returns.mean())
    spread = float(returns.std()) if len(returns) > 1 else 0.0
    losses = math.sqrt(float((returns.clip(upper=0) ** 2).mean()))
    return _ratio(mean, spread, a_year), _ratio(mean, losses, a_year)


def _ratio(mean: float, risk: float, a_year: float) -> float | None:
    return mean / risk * math.sqrt(a_year) if risk > 1e-15 else None
