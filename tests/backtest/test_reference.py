"""Real prices: indicators of a peer's library, and the cross as another engine followed it, to all its digits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from include.backtest.fills import Costs, Run, simulate
from include.backtest.indicators import deviation, ema, macd, rsi, sma
from include.backtest.measures import measure
from include.backtest.strategies import STRATEGIES

pytestmark = pytest.mark.data

PRICES = {"spy_daily": "spy_daily_quotes.csv", "spy_1min_202012": "spy_intraday_1min_quotes.csv"}
each_series = pytest.mark.parametrize("series", PRICES)
each_fee = pytest.mark.parametrize("fee", [0, 10], ids="{} bp".format)


def candles_of(shared_data: Path, series: str) -> pd.DataFrame:
    """Opens and closes, by the times of the expected values."""
    prices = pd.read_csv(shared_data / "indicators" / PRICES[series]).rename(columns=str.lower)
    times = pd.read_csv(expected(shared_data, series, "indicators.csv.gz"))["ts_utc"]
    return prices[["open", "high", "low", "close"]].set_axis(pd.DatetimeIndex(pd.to_datetime(times, utc=True)))


def expected(shared_data: Path, series: str, what: str) -> Path:
    return shared_data / "signals_backtest" / f"{series}_expected_{what}"


def follow(candles: pd.DataFrame, fee: int) -> Run:
    cross = STRATEGIES["sma_cross"]
    return simulate(candles, cross.positions(candles, cross.defaults, short=False), Costs(fee), 1_000_000)


@each_series
def test_the_cross_says_what_is_expected_at_each_candle(shared_data: Path, series: str) -> None:
    candles, cross = candles_of(shared_data, series), STRATEGIES["sma_cross"]
    said = cross.positions(candles, cross.defaults, short=True)
    changes = said[said != said.shift(fill_value=0)].map({1.0: "BUY", -1.0: "SELL"})
    crosses = pd.read_csv(expected(shared_data, series, "signals.csv"))
    assert list(zip(changes.index, changes, strict=True)) == list(
        zip(pd.to_datetime(crosses["ts_utc"], utc=True), crosses["signal"], strict=True)
    )


@each_fee
@each_series
def test_the_results_are_those_expected(shared_data: Path, series: str, fee: int) -> None:
    candles = candles_of(shared_data, series)
    run = follow(candles, fee)
    told = json.loads(expected(shared_data, series, "backtest.json").read_text())["results"]
    (want,) = [one for one in told if (one["execution"], one["fee_per_side"]) == ("next_open", fee / 10_000)]
    got = measure(run, candles["close"], 252)
    assert round(got.final_equity, 6) == want["final_equity"]
    assert round(got.total_return, 10) == want["total_return"]
    assert round(got.total_return, 6) == want["backtesting_py_return"]
    assert round(got.max_drawdown, 10) == want["max_drawdown"]
    assert round(got.buy_and_hold, 10) == want["buy_and_hold_return"]
    assert (got.trades, round((got.won or 0) * got.trades)) == (want["closed_trades"], want["winning_trades"])
    assert (run.trades[-1].exit_time is None) == want["open_position"]


@each_fee
@each_series
def test_each_trade_is_the_one_expected(shared_data: Path, series: str, fee: int) -> None:
    want = pd.read_csv(expected(shared_data, series, f"trades_next_open_fee{fee}bp.csv"))
    got = pd.DataFrame([one for one in follow(candles_of(shared_data, series), fee).trades if one.exit_time])
    for name, theirs in (("entry_time", "entry_ts"), ("exit_time", "exit_ts")):
        assert list(got[name]) == list(pd.to_datetime(want[theirs], utc=True))
    np.testing.assert_array_equal(got["entry_price"], want["entry_price"])
    np.testing.assert_array_equal(got["exit_price"], want["exit_price"])
    np.testing.assert_allclose(got["profit"], want["pnl"], rtol=6e-10)  # ten digits are told


@each_series
def test_the_indicators_are_those_of_the_peer(shared_data: Path, series: str) -> None:
    close = candles_of(shared_data, series)["close"]
    want = pd.read_csv(expected(shared_data, series, "indicators.csv.gz")).set_index(close.index)
    line, signal = macd(close, 12, 26, 9)
    got: dict[str, Any] = {
        "sma5": sma(close, 5), "sma20": sma(close, 20), "ema12_sma_seed": ema(close, 12),
        "ema20_sma_seed": ema(close, 20), "ema26_sma_seed": ema(close, 26), "rsi14_wilder": rsi(close, 14),
        "macd_sma_seed": line, "macd_signal_sma_seed": signal, "std20_population": deviation(close, 20),
        "bb_upper": sma(close, 20) + 2 * deviation(close, 20), "bb_lower": sma(close, 20) - 2 * deviation(close, 20),
    }  # fmt: skip
    for name, values in got.items():
        np.testing.assert_allclose(values, want[name], rtol=1e-9, atol=2e-9, err_msg=name)
