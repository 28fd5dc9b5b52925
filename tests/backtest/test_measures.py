"""Numbers about a curve; each has a value or none, and none is ever infinite."""

from __future__ import annotations

import math
import re

import jinja2
import pandas as pd
import pytest

from include.backtest.fills import Costs, simulate
from include.backtest.measures import candles_a_year, drawdowns, measure, ratios
from include.backtest.run import backtest, portfolio
from include.settings import ROOT
from tests.backtest.pictures import START, bars, market, setup, walk, wanted


def curve(*values: float) -> pd.Series:
    return pd.Series(values, dtype="float64")


def test_a_drawdown_is_from_the_most_there_was_the_cash_included() -> None:
    assert drawdowns(curve(90, 120, 60, 120), cash=100).tolist() == pytest.approx([-0.1, 0, -0.5, 0])


def test_sharpe_and_sortino() -> None:
    """Returns of +10 %, -10 %, +20 %: mean 1/15, deviation of the sample 0.15275, losses sqrt(0.01 / 3)."""
    sharpe, sortino = ratios(curve(110, 99, 118.8), cash=100, a_year=4)
    assert sharpe == pytest.approx(1 / 15 / 0.1527525 * 2)
    assert sortino == pytest.approx(1 / 15 / math.sqrt(0.01 / 3) * 2)


@pytest.mark.parametrize(
    ("values", "sharpe", "sortino"),
    [
        ((100, 100, 100), None, None),
        ((101,), None, None),
        ((100, 110, 130), "up", None),
        ((100, 0, 0), "down", "down"),
    ],
    ids=["nothing happens", "one candle", "no loss", "all is lost"],
)
def test_a_ratio_without_a_risk_has_no_value(values: tuple[float, ...], sharpe: object, sortino: object) -> None:
    found = ratios(curve(*values), cash=100, a_year=252)
    assert [value and ("up" if value > 0 else "down") for value in found] == [sharpe, sortino]
    assert all(value is None or math.isfinite(value) for value in found)


def test_exposure_is_the_part_of_the_candles_with_a_position() -> None:
    candles = bars("10-10 10-10 10-10 10-10")
    found = measure(simulate(candles, wanted("+ 0 0 0", candles), Costs(), 100), candles["close"], 252)
    assert (found.exposure, found.trades, found.won) == (0.25, 1, 0.0)


def test_a_year_has_as_many_candles_as_dbt_counts() -> None:
    macros = (ROOT / "dbt" / "macros" / "indicator_columns.sql").read_text()
    start = macros.index("{% macro candles_a_year")
    macro = macros[start : macros.index("{%- endmacro %}", start)] + "{%- endmacro %}"
    for minutes in (1, 5, 15, 60, 1440):
        text = jinja2.Template(macro + "{{ candles_a_year('x', " + str(minutes) + ") }}").render()
        told = [float(value) for value in re.findall(r"(?:then|else) ([\d.]+)", text)]
        assert told == [candles_a_year(calendar, minutes) for calendar in ("24/7", "FX", "24/5", "XNYS")]


def test_a_portfolio_is_equal_parts_at_the_beginning() -> None:
    slow, fast = walk(60), walk(60, seed=3)
    results = [backtest(market(candles, symbol=name), setup(fee=5)) for name, candles in (("A", slow), ("B", fast))]
    found = portfolio(results)
    assert found.run.equity.tolist() == pytest.approx((results[0].run.equity + results[1].run.equity).tolist())
    assert found.measures.buy_and_hold == pytest.approx(sum(one.measures.buy_and_hold for one in results) / 2)
    assert found.measures.costs == pytest.approx(sum(one.measures.costs for one in results))
    assert found.measures.exposure == pytest.approx(sum(one.measures.exposure for one in results) / 2)
    assert found.measures.trades == sum(one.measures.trades for one in results)


def test_what_begins_later_is_cash_until_then() -> None:
    late = walk(60, seed=3).iloc[30:]
    results = [backtest(market(walk(60), symbol="A"), setup()), backtest(market(late, symbol="B"), setup())]
    equity = portfolio(results).run.equity
    assert equity.iloc[:30].tolist() == pytest.approx((results[0].run.equity.iloc[:30] + 1_000).tolist())
    assert equity.iloc[-1] == pytest.approx(results[0].run.equity.iloc[-1] + results[1].run.equity.iloc[-1])


def test_history_makes_the_first_signal_right_and_is_not_counted() -> None:
    candles = walk(100)
    later = backtest(market(candles, start=candles.index[50].to_pydatetime()), setup())
    whole = backtest(market(candles, start=START), setup())
    assert len(later.run.equity) == 50
    assert later.run.held.tolist() == whole.run.held.iloc[50:].tolist()
