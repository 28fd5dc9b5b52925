"""Nothing of the future is seen: whatever comes later, what was before stays as it was."""

from __future__ import annotations

import pandas as pd
import pytest

from include.backtest.fills import Costs, simulate
from include.backtest.indicators import side
from include.backtest.run import backtest
from include.backtest.strategies import STRATEGIES
from include.backtest.strategy import Strategy, StrategyError, check_signals
from tests.backtest.pictures import market, setup, walk

PAST, COUNT = 150, 200
SAME, OTHER = walk(COUNT), walk(COUNT, seed=2)


def with_vwap(candles: pd.DataFrame) -> pd.DataFrame:
    return candles.assign(vwap_session=candles["close"].expanding().mean())


FUTURES = {
    "replaced": pd.concat([SAME.iloc[:PAST], OTHER.iloc[PAST:]]),
    "shifted by ten minutes": pd.concat([SAME.iloc[:PAST], SAME.iloc[PAST:].shift(freq="10min")]),
    "shifted by ten rows": pd.concat([SAME.iloc[:PAST], SAME.shift(10).iloc[PAST:]]),
    "gone": SAME.iloc[: PAST + 1],
}


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=lambda one: one.name)
@pytest.mark.parametrize("future", FUTURES.values(), ids=FUTURES)
def test_another_future_changes_nothing_before_it(strategy: Strategy, future: pd.DataFrame) -> None:
    asked = setup(strategy, fee=10, short=True)
    before, after = (backtest(market(with_vwap(candles)), asked).run for candles in (SAME, future))
    assert before.equity.iloc[:PAST].equals(after.equity.iloc[:PAST])
    end = SAME.index[PAST]
    known = [[one for one in run.trades if one.exit_time and one.exit_time < end] for run in (before, after)]
    assert known[0] == known[1]
    assert before.trades, "a strategy that never trades would pass anything"


def test_the_candle_of_a_signal_cannot_be_bought_at_its_own_prices() -> None:
    """Whatever a candle does, what its signal earns begins with the next open."""
    jump = SAME.copy()
    jump.loc[jump.index[100], "close"] *= 1.5
    positions = pd.Series(0.0, index=jump.index)
    positions.iloc[100:] = 1.0
    quiet, jumped = (simulate(candles, positions, Costs(), 1_000).equity for candles in (SAME, jump))
    assert jumped.equals(quiet)


@pytest.mark.parametrize(
    "signals",
    [
        lambda candles, _: side(candles["close"].shift(-1) - candles["close"]),
        lambda candles, _: side(candles["close"] - candles["close"].mean()),
        lambda candles, _: side(candles["close"] - candles["close"].rolling(5, center=True).mean()),
    ],
    ids=["tomorrow", "mean of everything", "centred window"],
)
def test_a_strategy_that_looks_ahead_is_refused(signals: object) -> None:
    cheat = Strategy("cheat", "knows it all", (), signals, lambda _: 1)  # type: ignore[arg-type]
    with pytest.raises(StrategyError, match=r"cheat looks ahead: after the candle of 2026-03-02 1\d:\d\d UTC"):
        check_signals(cheat, SAME, {})
