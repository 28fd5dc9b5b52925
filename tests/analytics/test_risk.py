"""Returns, correlations, betas and value at risk, against pandas and numpy on the same candles."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import psycopg
import pytest

from tests.analytics.pictures import asked, day_candles

FIRST = date(2026, 1, 5)  # a Monday
DAYS = [FIRST + timedelta(days=n) for n in range(120)]
WEEKDAYS = [day for day in DAYS if day.weekday() < 5]
CLOSE = 1e-9


def walk(days: list[date], seed: int, by: float = 0.02) -> pd.Series:
    steps = np.random.default_rng(seed).normal(0, by, len(days))
    return pd.Series(np.round(100 * np.exp(np.cumsum(steps)), 4), index=days)


SERIES = {
    "SPY": walk(WEEKDAYS, 1),
    "AAPL": walk(WEEKDAYS, 2),
    "MSFT": walk([day for n, day in enumerate(WEEKDAYS) if n % 9], 3),  # some days are missing
    "BTC-USD": walk(DAYS, 4),
    "ETH-USD": walk(DAYS, 5),
    "JPM": pd.Series(50.0, index=WEEKDAYS),  # never moves
    "BAC": pd.Series(1.25 ** np.arange(20), index=WEEKDAYS[:20]),  # 19 returns, one too few
    "XOM": pd.Series([30.0], index=WEEKDAYS[:1]),
}


@pytest.fixture(scope="module", autouse=True)
def candles(marts: psycopg.Connection) -> None:
    for symbol, closes in SERIES.items():
        day_candles(marts, symbol, closes.items())  # type: ignore[arg-type]
    day_candles(marts, "SPY", [(DAYS[-1] + timedelta(days=1), 999)], final=False)  # of a running session
    marts.execute("insert into ops.portfolio_positions values ('two', 'SPY', 3, 90), ('two', 'MSFT', -2, 95)")
    marts.execute("delete from ops.portfolio_positions where portfolio <> 'two'")
    for symbol, price in (("SPY", 110.0), ("MSFT", 120.0)):
        marts.execute(
            "insert into marts.indicators_1m (symbol, candle_start, source, is_fallback, close, is_final) "
            "values (%s, '2026-05-04 20:00Z', 'simulator', false, %s, true)", [symbol, price],
        )  # fmt: skip


def both(one: str, other: str) -> pd.DataFrame:
    """The closes of the sessions that both have."""
    return pd.DataFrame({"one": SERIES[one], "other": SERIES[other]}).dropna()


def test_returns_are_against_the_session_before(marts: psycopg.Connection) -> None:
    for symbol, closes in SERIES.items():
        got = asked(
            marts, f"select return, log_return from marts.returns_1d where symbol = '{symbol}' order by session_date"
        )
        wanted = np.column_stack([closes.pct_change(), np.log(closes / closes.shift())])
        assert got[0] == (None, None)
        np.testing.assert_allclose(np.array(got[1:], float).reshape(-1, 2), wanted[1:], rtol=CLOSE, atol=1e-15)


@pytest.mark.parametrize(("one", "other"), [("AAPL", "SPY"), ("AAPL", "MSFT"), ("BTC-USD", "SPY")])
def test_correlations_are_those_of_pandas(marts: psycopg.Connection, one: str, other: str) -> None:
    returns = np.log(both(one, other)).diff()
    rolled = asked(
        marts,
        "select session_date, correlation_short, correlation_long from marts.correlations_rolling "
        f"where symbol = '{one}' and other_symbol = '{other}' order by session_date",
    )
    assert [row[0] for row in rolled] == list(returns.index)
    for column, window in ((1, 20), (2, 60)):
        wanted = returns["one"].rolling(window).corr(returns["other"])
        np.testing.assert_allclose(np.array([row[column] for row in rolled], float), wanted, rtol=CLOSE, atol=1e-12)
    ((day, count, short, long),) = asked(
        marts,
        "select session_date, return_count, correlation_short, correlation_long from marts.correlations "
        f"where symbol = '{one}' and other_symbol = '{other}'",
    )
    assert (day, count) == (rolled[-1][0], 60)
    assert (short, long) == (pytest.approx(rolled[-1][1], rel=CLOSE), pytest.approx(rolled[-1][2], rel=CLOSE))


def test_what_does_not_move_or_is_too_short_has_no_correlation(marts: psycopg.Connection) -> None:
    assert asked(
        marts,
        "select distinct symbol, other_symbol, correlation_short, correlation_long from marts.correlations "
        "where 'JPM' in (symbol, other_symbol) and 'SPY' in (symbol, other_symbol) or "
        "(symbol, other_symbol) in (('BAC', 'JPM'), ('BAC', 'XOM')) order by 1, 2",
    ) == [("BAC", "JPM", None, None), ("BAC", "XOM", None, None), ("JPM", "SPY", None, None)]


def test_betas_are_the_slopes_of_least_squares(marts: psycopg.Connection) -> None:
    got = {row[0]: row[1:] for row in asked(
        marts, "select symbol, benchmark, return_count, beta, alpha, r_squared from marts.betas"
    )}  # fmt: skip
    for symbol, benchmark in (("AAPL", "SPY"), ("MSFT", "SPY"), ("ETH-USD", "BTC-USD")):
        returns = both(symbol, benchmark).pct_change().dropna()
        slope, intercept = np.polyfit(returns["other"], returns["one"], 1)
        squared = returns["one"].corr(returns["other"]) ** 2
        assert got[symbol][:2] == (benchmark, len(returns))
        np.testing.assert_allclose(got[symbol][2:], (slope, intercept, squared), rtol=CLOSE, atol=1e-13)
    assert got["SPY"][2] == pytest.approx(1, rel=1e-12)
    assert got["JPM"][2:] == (0, 0, None)  # it never moves: no beta to speak of, and nothing to explain
    assert got["BAC"][2:] == (None, None, None)
    assert "XOM" not in got


def risk(returns: pd.Series) -> list[float]:
    quantiles = [np.quantile(returns, share) for share in (0.05, 0.01)]
    return [-one for one in quantiles] + [-returns[returns <= one].mean() for one in quantiles]


def test_value_at_risk_is_the_quantile_of_the_past(marts: psycopg.Connection) -> None:
    got = {row[:2]: row[2:] for row in asked(
        marts, "select scope, name, return_count, value, var_95, var_99, expected_shortfall_95, expected_shortfall_99, "
        "var_95_amount from marts.value_at_risk"
    )}  # fmt: skip
    for symbol in ("SPY", "MSFT", "BTC-USD"):
        returns = SERIES[symbol].pct_change().dropna()
        assert got["symbol", symbol][:2] == (len(returns), None)
        np.testing.assert_allclose(got["symbol", symbol][2:6], risk(returns), rtol=CLOSE)
    assert got["symbol", "JPM"][2:6] == (0, 0, 0, 0)
    assert {name for _, name in got} & {"BAC", "XOM"} == set()
    # 3 of SPY at 110 and -2 of MSFT at 120, over the sessions that both have
    returns = both("SPY", "MSFT").pct_change().dropna()
    whole = (330 * returns["one"] - 240 * returns["other"]) / 90
    assert got["portfolio", "two"][:2] == (len(whole), 90)
    np.testing.assert_allclose(got["portfolio", "two"][2:6], risk(whole), rtol=CLOSE)
    assert got["portfolio", "two"][6] == pytest.approx(90 * risk(whole)[0], rel=CLOSE)
