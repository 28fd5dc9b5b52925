"""Positions into money: what is wanted after a candle is filled at the open of the next one, by the library bt.

bt is given the fills alone, and keeps cash, positions and fees; the value at each close is then a multiplication
(docs/adr/0027-bt-fills-at-the-next-open.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from include.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

POINT: Final = 1e-4  # a basis point


@dataclass(frozen=True, slots=True)
class Costs:
    """A side, in basis points of what is traded: the fee, and by how much a fill is worse than the open."""

    fee: float = 0.0
    slippage: float = 0.0

    def price(self, opened: float, units: float) -> float:
        """What a buy (units above 0) or a sale is filled at."""
        return opened * (1 + (self.slippage if units > 0 else -self.slippage) * POINT)

    def of(self, units: float, opened: float) -> float:
        """Fee and slippage of this fill, in money."""
        filled = self.price(opened, units)
        return abs(units) * (abs(filled - opened) + filled * self.fee * POINT)


class Trade(NamedTuple):
    """From a fill out of nothing to the fill back; `exit_time`, `exit_price` are None while it is open.

    `units` are below 0 for a short one. Prices are those of the fills, after slippage. `profit` is in money after all
    costs, of an open one at the last close.
    """

    entry_time: datetime
    exit_time: datetime | None
    units: float
    entry_price: float
    exit_price: float | None
    profit: float


@dataclass(frozen=True)
class Run:
    """What became of the cash. `equity` and `held` (1 where something is, else 0) are by candle (UTC), at its close."""

    cash: float
    equity: pd.Series[float]
    held: pd.Series[float]
    trades: tuple[Trade, ...]
    costs: float


def simulate(
    candles: pd.DataFrame, positions: pd.Series[float], costs: Costs, cash: float, *, held: float = 0.0
) -> Run:
    """All of the equity into each position, at the next open; the first candle's open fills `held`.

    `candles` have `open` and `close` by start (UTC, in order), `positions` are -1, 0 or 1 after each. What goes from
    long to short is closed, then opened. The run ends at a close at which a short one has lost everything.
    Raises ConfigError for a price that is not above 0.
    """
    _check_prices(candles)
    run = _account(candles, positions, costs, cash, held)
    lost = (run.equity <= 0).to_numpy()
    if not lost.any():
        return run
    end = int(lost.argmax()) + 1
    until = _account(candles.iloc[:end], positions.iloc[:end], costs, cash, held)
    *others, last = until.trades
    last = last._replace(
        exit_time=candles.index[end - 1].to_pydatetime(), exit_price=float(candles["close"].iloc[end - 1]),
        profit=-cash - sum(trade.profit for trade in others),
    )  # fmt: skip
    equity, held_until = (one[:-1].reindex(candles.index, fill_value=0.0) for one in (until.equity, until.held))
    return Run(cash, equity, held_until, (*others, last), until.costs)


def _account(candles: pd.DataFrame, positions: pd.Series[float], costs: Costs, cash: float, held: float) -> Run:
    import pandas as pd

    targets = positions.shift(1, fill_value=held).to_numpy()
    changes = [
        (place, before, now)
        for place, (before, now) in enumerate(pairwise([0.0, *map(float, targets)]))
        if now != before
    ]
    # Out of what was held, then into what is wanted: a fill each.
    fills = [(place, to) for place, before, now in changes for to, has in ((0.0, before), (now, now)) if has]
    places, wanted = [place for place, _ in fills], [to for _, to in fills]
    prices = [float(price) for price in candles["open"].to_numpy()[places]]
    units, left = _fill(prices, wanted, costs, cash)
    after = pd.DataFrame({"units": units, "cash": left}, index=places, dtype="float64")
    after = after[~after.index.duplicated(keep="last")].reindex(range(len(candles))).ffill()
    after = after.fillna({"units": 0.0, "cash": cash}).set_axis(candles.index)
    equity = (after["cash"] + after["units"] * candles["close"]).rename("equity")
    spent = sum(
        costs.of(now - before, price) for price, (before, now) in zip(prices, pairwise([0.0, *units]), strict=True)
    )
    times = [candles.index[place].to_pydatetime() for place in places]
    trades = tuple(_trades(times, prices, units, costs, float(candles["close"].iloc[-1])))
    return Run(cash, equity, (after["units"] != 0).astype(float).rename("held"), trades, spent)


def _fill(
    prices: Sequence[float], targets: Sequence[float], costs: Costs, cash: float
) -> tuple[list[float], list[float]]:
    """Units and cash after each fill."""
    if not prices:
        return [], []
    import bt
    import pandas as pd

    rest = iter(targets)

    class AllIn(bt.Algo):  # type: ignore[misc]
        """As bt's WeighTarget and Rebalance, without their tables: four times as fast."""

        def __call__(self, strategy: Any) -> bool:
            strategy.rebalance(next(rest), "held")
            return True

    order = pd.date_range("2000-01-01", periods=len(prices), freq="s")  # bt wants times, and fills may share theirs
    run = bt.Backtest(
        bt.Strategy("all in", [AllIn()]), pd.DataFrame({"held": prices}, index=order), initial_capital=cash,
        integer_positions=False, commissions=lambda units, price: costs.of(units, price), progress_bar=False,
    )  # fmt: skip
    run.run()
    return run.positions["held"].tolist()[1:], run.strategy.cash.tolist()[1:]  # bt puts a day before


def _trades(
    times: Sequence[datetime], prices: Sequence[float], units: Sequence[float], costs: Costs, close: float
) -> list[Trade]:
    """Each pair of fills; what is open at the end is worth `close`."""
    found: list[Trade] = []
    for time, price, (before, now) in zip(times, prices, pairwise([0.0, *units]), strict=True):
        filled = costs.price(price, now - before)
        paid = (now - before) * filled + abs(now - before) * filled * costs.fee * POINT
        if now:
            found.append(Trade(time, None, now, filled, None, -paid))
        elif before:
            found[-1] = found[-1]._replace(exit_time=time, exit_price=filled, profit=found[-1].profit - paid)
    if found and found[-1].exit_time is None:
        found[-1] = found[-1]._replace(profit=found[-1].profit + found[-1].units * close)
    return found


def _check_prices(candles: pd.DataFrame) -> None:
    wrong = candles.index[~((candles["open"] > 0) & (candles["close"] > 0))]
    if len(wrong):
        raise ConfigError(
            f"the candle of {wrong[0]:%Y-%m-%d %H:%M} UTC has a price that is not above 0 "
            f"({len(wrong):,} such in all); take a range without it"
        )
