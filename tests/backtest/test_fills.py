"""Wanted positions become fills at the next open, and money."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.backtest.fills import Costs, simulate
from include.errors import ConfigError
from tests.backtest.pictures import bars, frame, wanted


def clock(moment: object) -> str:
    return f"{moment:%H:%M}" if moment else "open"


def test_a_signal_is_filled_at_the_open_of_the_next_candle() -> None:
    candles = bars("10-11 20-22 25-24 30-33")
    run = simulate(candles, wanted("+ + 0 0", candles), Costs(), 1_000)
    (trade,) = run.trades
    assert (clock(trade.entry_time), trade.entry_price, clock(trade.exit_time), trade.exit_price) == (
        "10:01", 20, "10:03", 30,
    )  # fmt: skip
    assert (trade.units, trade.profit) == (pytest.approx(50), pytest.approx(500))
    assert run.equity.tolist() == pytest.approx([1_000, 1_100, 1_200, 1_500])
    assert run.held.tolist() == [0, 1, 1, 0]


def test_the_signal_of_the_last_candle_is_not_filled() -> None:
    candles = bars("10-11 20-22")
    assert simulate(candles, wanted("0 +", candles), Costs(), 1_000).trades == ()


def test_what_was_wanted_before_is_filled_at_the_first_open() -> None:
    candles = bars("10-11 20-22")
    run = simulate(candles, wanted("+ +", candles), Costs(), 1_000, held=1.0)
    assert [(clock(one.entry_time), clock(one.exit_time), one.exit_price) for one in run.trades] == [
        ("10:00", "open", None)
    ]
    assert run.equity.tolist() == pytest.approx([1_100, 2_200])
    assert run.trades[0].profit == pytest.approx(1_200)  # at the last close


def test_fee_and_slippage_are_paid_on_both_sides() -> None:
    candles = bars("100-100 100-100 100-100")
    run = simulate(candles, wanted("+ 0 0", candles), Costs(fee=100, slippage=50), 1_000)
    (trade,) = run.trades
    assert (trade.entry_price, trade.exit_price) == (pytest.approx(100.5), pytest.approx(99.5))
    assert trade.units == pytest.approx(1_000 / (100.5 * 1.01))  # price and fee take all of the cash
    assert run.equity.iloc[-1] == pytest.approx(1_000 / (100.5 * 1.01) * 99.5 * 0.99)
    assert run.costs == pytest.approx(1_000 - run.equity.iloc[-1])  # the price stood still


def test_from_long_to_short_is_two_fills() -> None:
    candles = bars("10-10 10-20 20-20 10-10")
    run = simulate(candles, wanted("+ - 0 0", candles), Costs(), 1_000)
    assert [(clock(one.entry_time), one.units, clock(one.exit_time), one.profit) for one in run.trades] == [
        ("10:01", pytest.approx(100), "10:02", pytest.approx(1_000)),
        ("10:02", pytest.approx(-100), "10:03", pytest.approx(1_000)),
    ]
    assert run.equity.iloc[-1] == pytest.approx(3_000)


def test_a_short_one_that_loses_everything_ends_the_run() -> None:
    candles = bars("10-10 10-15 15-25 5-5 5-5")
    run = simulate(candles, wanted("- - - + +", candles), Costs(), 1_000)
    assert run.equity.tolist() == pytest.approx([1_000, 500, 0, 0, 0])
    assert [(clock(one.entry_time), clock(one.exit_time), one.profit) for one in run.trades] == [
        ("10:01", "10:02", pytest.approx(-1_000))
    ]


def test_no_signal_leaves_the_cash() -> None:
    candles = bars("10-11 12-13")
    run = simulate(candles, wanted("0 0", candles), Costs(10), 1_000)
    assert (run.equity.tolist(), run.trades, run.costs) == ([1_000, 1_000], (), 0)


def test_a_price_of_zero_is_refused_with_its_time() -> None:
    candles = bars("10-11 0-13 12-12")
    with pytest.raises(ConfigError, match=r"2026-03-02 10:01 UTC has a price that is not above 0 \(1 such"):
        simulate(candles, wanted("+ + +", candles), Costs(), 1_000)


@settings(max_examples=25, deadline=None)
@given(
    signs=st.lists(st.sampled_from([-1, 0, 1]), min_size=2, max_size=12),
    seed=st.integers(0, 10_000),
    costs=st.builds(Costs, st.sampled_from([0, 1, 25]), st.sampled_from([0, 3])),
)
def test_the_profits_of_all_trades_are_what_the_cash_grew_by(signs: list[int], seed: int, costs: Costs) -> None:
    prices = 100 + np.random.default_rng(seed).uniform(-10, 10, (2, len(signs)))
    candles = frame(prices[0], prices[1])
    positions = wanted(" ".join("0+-"[sign] for sign in signs), candles)
    run = simulate(candles, positions, costs, 1_000)
    assert sum(trade.profit for trade in run.trades) == pytest.approx(run.equity.iloc[-1] - 1_000, abs=1e-6)
    fills = [price for trade in run.trades for price in (trade.entry_price, trade.exit_price) if price]
    assert len(fills) == np.count_nonzero(np.diff([0, *signs[:-1]])) + np.count_nonzero(
        np.array([0, *signs[:-2]]) * np.array(signs[:-1]) < 0
    )


def test_when_costs_have_eaten_everything_nothing_more_is_traded() -> None:
    candles = frame([100.0] * 1_000, [100.0] * 1_000)
    run = simulate(candles, wanted(" ".join(["+ 0"] * 500), candles), Costs(fee=1_000), 1_000)
    assert 100 < len(run.trades) < 300
    assert all(trade.exit_time and trade.exit_time > trade.entry_time for trade in run.trades)
    assert run.trades[-1].exit_time < candles.index[-300]
    assert run.equity.iloc[-1] == pytest.approx(0, abs=1e-6)
