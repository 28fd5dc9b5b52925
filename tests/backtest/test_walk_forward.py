"""Parameters are chosen in one window and counted in the next, which they have not seen."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd
import pytest

from include.backtest.fills import Costs, simulate
from include.backtest.indicators import side
from include.backtest.run import Market, backtest
from include.backtest.strategy import Parameter, Strategy
from include.backtest.walk_forward import Windows, split, walk_forward
from include.errors import ConfigError
from tests.backtest.pictures import START, frame, market, setup, walk

WINDOWS = Windows(train=timedelta(minutes=60), test=timedelta(minutes=30))
GRID = [{"fast": fast, "slow": slow} for fast in (2, 5) for slow in (8, 20)]
CANDLES = walk(200)

TREND = Strategy(
    "trend", "with the last move, or against it", (Parameter("sign", 1, -1, 1, "with or against"),),
    lambda candles, p: side(candles["close"].diff() * p["sign"]), lambda _: 1,
)  # fmt: skip


def clock(*moments: pd.Timestamp) -> str:
    return " ".join(f"{moment:%H:%M}" for moment in moments)


def test_windows_go_on_side_by_side_and_the_last_one_may_be_short() -> None:
    assert [clock(*step) for step in split(CANDLES.index, START, WINDOWS)] == [
        "10:00 11:00 11:30", "10:30 11:30 12:00", "11:00 12:00 12:30", "11:30 12:30 13:00", "12:00 13:00 13:30",
    ]  # fmt: skip


def test_a_window_without_candles_is_left_out() -> None:
    """From 11:30 to 12:30 there is nothing to test on, and from 11:30 nothing to choose by."""
    night = CANDLES.index[(CANDLES.index < "2026-03-02 11:30Z") | (CANDLES.index >= "2026-03-02 12:30Z")]
    assert [clock(*step) for step in split(night, START, WINDOWS)] == ["10:00 11:00 11:30", "12:00 13:00 13:30"]


def test_each_window_has_the_parameters_that_were_best_in_the_one_before() -> None:
    result = walk_forward(market(CANDLES), setup(fee=5), GRID, WINDOWS)
    assert len({str(fold.params) for fold in result.folds}) > 1
    for fold in result.folds:
        past = market(CANDLES[CANDLES.index < fold.split], start=fold.start)
        sharpes = [backtest(past, setup(fee=5, **params)).measures.sharpe or float("-inf") for params in GRID]
        assert fold.params == GRID[sharpes.index(max(sharpes))]
        assert fold.in_sample.sharpe == max(sharpes)


def test_the_curve_is_the_chosen_signals_over_the_test_windows_alone() -> None:
    result = walk_forward(market(CANDLES), setup(fee=5), GRID, WINDOWS)
    parts = []
    for fold in result.folds:
        fills = setup().strategy.positions(CANDLES, fold.params, short=False).shift(fill_value=0.0)
        parts.append(fills[(fills.index >= fold.split) & (fills.index < fold.end)])
    wanted = pd.concat(parts)
    tested = CANDLES.loc[wanted.index]
    by_hand = simulate(tested, wanted.shift(-1, fill_value=0), Costs(5), 1_000, held=float(wanted.iloc[0]))
    assert result.run.equity.equals(by_hand.equity)
    assert clock(result.run.equity.index[0], result.run.equity.index[-1]) == "11:00 13:19"


def test_what_comes_after_a_window_does_not_change_its_choice_or_its_result() -> None:
    other = pd.concat([CANDLES.iloc[:120], walk(200, seed=9).iloc[120:]])  # from 12:00 on
    before, after = (walk_forward(market(one), setup(fee=5), GRID, WINDOWS) for one in (CANDLES, other))
    assert before.folds[:2] == after.folds[:2]
    assert before.folds[2].params == after.folds[2].params  # chosen over 11:00 to 12:00
    assert before.folds[2].out_of_sample != after.folds[2].out_of_sample
    assert before.run.equity.iloc[:60].equals(after.run.equity.iloc[:60])


def test_luck_in_sample_is_not_counted() -> None:
    """An hour up, which following the last move earns from; then up and down by turns, which it loses by."""
    closes = [100.0 + n for n in range(60)] + [160.0, 157.0] * 15
    candles = frame([100.0, *closes[:-1]], closes)
    result = walk_forward(market(candles), setup(TREND), [{"sign": -1}, {"sign": 1}], WINDOWS)
    (fold,) = result.folds
    assert (fold.params, fold.in_sample.total_return > 0.5) == ({"sign": 1}, True)
    assert fold.out_of_sample.total_return < -0.1
    assert result.measures.total_return == pytest.approx(fold.out_of_sample.total_return)


def test_a_range_without_anything_to_test_on_is_refused() -> None:
    short = Market("X", CANDLES.iloc[:60], START, 525_600)
    with pytest.raises(ConfigError) as refused:
        walk_forward(short, setup(), GRID, WINDOWS)
    assert str(refused.value) == (
        "X: nothing is left to test on: the candles go from 2026-03-02 10:00 to 2026-03-02 10:59 UTC, and "
        "--train is 1 h; take a longer range or a shorter --train"
    )
