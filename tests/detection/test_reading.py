"""What is read for the rules: rows with their history, and numbers that come from elsewhere than the candles."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.detection.engine import columns_needed, evaluate
from include.detection.portfolios import judged_portfolios, read_portfolios, value_at_risk, valued
from include.detection.reading import Span
from include.detection.rows import read_candles
from include.settings import Settings
from include.warehouse.db import connect
from tests.detection.pictures import only
from tests.transform.marts import make_room

T0 = datetime(2026, 1, 2, 20, 55, tzinfo=UTC)  # five minutes before the exchange closes
MORNING = 17 * 60 + 35 + 2 * 1440  # minutes until Monday, 14:30, when it opens


def minute(number: int) -> datetime:
    return T0 + timedelta(minutes=number)


def put(conn: psycopg.Connection, symbol: str, closes: dict[int, float], source: str = "yahoo") -> None:
    make_room(conn, "indicators_1m", map(minute, closes))
    conn.cursor().executemany(
        "insert into marts.indicators_1m (symbol, candle_start, source, close, is_final) values (%s, %s, %s, %s, true)",
        [(symbol, minute(n), source, close) for n, close in closes.items()],
    )


def quote(conn: psycopg.Connection, symbol: str, number: float, bid: float, ask: float, source: str = "yahoo") -> None:
    make_room(conn, "quotes", [minute(0)])
    conn.execute(
        "insert into marts.quotes (symbol, event_time, source, vendor_id, price, bid, ask, received_at) "
        "values (%s, %s, %s, '', %s, %s, %s, now())",
        [symbol, T0 + timedelta(minutes=number), source, bid, bid, ask],
    )


@pytest.mark.stack
def test_candles_are_read_with_history_spread_and_the_open_minutes_that_are_missing(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        conn.execute(
            "insert into ops.sessions (calendar, session_date, opens_at, closes_at) values "
            "('XNYS', '2026-01-02', '2026-01-02 14:30Z', '2026-01-02 21:00Z'), "
            "('XNYS', '2026-01-05', '2026-01-05 14:30Z', '2026-01-05 21:00Z') on conflict do nothing"
        )
        put(conn, "AAPL", {0: 1, 1: 2, 2: 3, MORNING + 1: 4})  # 20:58 and 20:59, and 14:30 on Monday
        put(conn, "BTC-USD", {0: 1, 3: 2})
        put(conn, "MSFT", {0: 1, 60: 2}, source="simulator")
        for number, bid, ask in ((1.1, 99, 101), (1.5, 99.5, 100.5), (1.9, 99.9, 100.1), (2.5, 101, 99), (2.6, 0, 1)):
            quote(conn, "AAPL", number, bid, ask)
        quote(conn, "AAPL", 0.5, 90, 110, source="polygon")  # of another source than the candle
        spans = [Span("AAPL", minute(1), None), Span("BTC-USD", minute(1), None), Span("MSFT", minute(1), None)]
        with conn.transaction():
            (found,) = read_candles(conn, spans, ["close", "spread", "missing"], 1, ["simulator"], 1)
    assert list(zip(found.symbol, found["close"], found.is_new, found.is_first, strict=True)) == [
        ("AAPL", 1, False, True), ("AAPL", 2, True, False), ("AAPL", 3, True, False), ("AAPL", 4, True, False),
        ("BTC-USD", 1, False, True), ("BTC-USD", 2, True, False),
        ("MSFT", 1, False, True), ("MSFT", 2, True, False),
    ]  # fmt: skip
    assert found.at[3] == datetime(2026, 1, 5, 14, 31, tzinfo=UTC)
    np.testing.assert_array_equal(found["missing"], [np.nan, 0, 0, 3, np.nan, 2, np.nan, 59])
    np.testing.assert_allclose(found["spread"][:4], [np.nan, 100, np.nan, np.nan])


@pytest.mark.stack
def test_the_worth_of_a_portfolio_is_read_by_minute(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        conn.execute("delete from ops.portfolio_positions")
        conn.execute(
            "insert into ops.portfolio_positions values ('coins', 'BTC-USD', 2, 1), ('coins', 'ETH-USD', 10, 1)"
        )
        put(conn, "BTC-USD", {0: 100, 1: 100, 3: 80})
        put(conn, "ETH-USD", {-1500: 9, 1: 10, 2: 11})
        judged = judged_portfolios(conn, [Span("ETH-USD", minute(2), minute(3)), Span("AAPL", minute(0), None)], 10)
        assert judged == [Span("coins", minute(2), None)], "ETH-USD's last close counts until there is another"
        put(conn, "ETH-USD", {5: 11})
        judged = judged_portfolios(conn, [Span("ETH-USD", minute(2), minute(3)), Span("AAPL", minute(0), None)], 10)
        assert judged == [Span("coins", minute(2), minute(5 + 2880))]
        (day,) = judged_portfolios(conn, [], 10, [Span("coins", minute(0), minute(1440))])
        assert day == Span("coins", minute(0), minute(1440))
        detection = only("portfolio_drawdown", minutes=10, threshold=9)
        columns = columns_needed(detection, "portfolios")
        batches = list(read_portfolios(conn, judged, columns, 10, {}))
    assert [(at, value) for at, value in zip(batches[0].at, batches[0]["value"], strict=True)] == [
        (minute(0), 290), (minute(1), 300), (minute(2), 310), (minute(3), 270), (minute(5), 270),
    ]  # fmt: skip
    (found,) = evaluate(batches, detection, {})
    assert [(one.symbol, one.candle_start, round(one.value, 2)) for one in found] == [
        ("coins", minute(3), -12.9), ("coins", minute(5), -12.9),
    ]  # fmt: skip


def test_a_day_begins_with_the_value_at_the_end_of_the_one_before() -> None:
    first = int(datetime(2026, 1, 3, tzinfo=UTC).timestamp()) // 60
    closes = [("A", 2.0, first - 5, 10.0), ("A", 2.0, first, 11.0), ("A", 2.0, first + 1, 12.0), ("B", 1.0, first, 7.0)]
    found = valued(Span("coins", datetime(2026, 1, 3, tzinfo=UTC), None), closes, 60)
    assert found["value"].tolist() == [29, 31], "not while a position has no price"
    np.testing.assert_array_equal(found["day_value"], [np.nan, np.nan])
    found = valued(Span("coins", datetime(2026, 1, 3, tzinfo=UTC), None), closes[:3], 60)
    assert (found["value"].tolist(), found["day_value"][1:].tolist()) == ([20, 22, 24], [20, 20])


def test_the_value_at_risk_is_told_from_the_daily_returns_before() -> None:
    values = np.cumprod([100.0, *[1.01, 0.98] * 50])
    assert value_at_risk(values) == pytest.approx((0.02, 0.02))
    assert np.isnan(value_at_risk(values[:20])).all(), "nineteen returns are too few"


minutes_of = st.lists(st.integers(0, 4000), min_size=1, max_size=25, unique=True).map(sorted)


@given(one=minutes_of, other=minutes_of, start=st.integers(0, 4000), history=st.integers(0, 1500))
def test_what_a_portfolio_is_worth_does_not_depend_on_where_reading_begins(
    one: list[int], other: list[int], start: int, history: int
) -> None:
    first = int(T0.timestamp()) // 60
    series = {"A": (2.0, one), "B": (-0.5, other)}

    def read(begin: int) -> dict[datetime, tuple[float, str]]:
        """As the warehouse answers: what is new, a day or more before it, and the last close before that."""
        least = begin - max(history, 1440)
        closes = [
            (symbol, quantity, first + n, float(100 + n % 7))
            for symbol, (quantity, times) in series.items()
            for n in [*[n for n in times if n < least][-1:], *[n for n in times if n >= least]]
        ]
        found = valued(Span("coins", minute(begin), None), closes, history)
        numbers = zip(found["value"].tolist(), found["day_value"].tolist(), strict=True)
        return {
            at: (value, repr(day)) for at, (value, day), new in zip(found.at, numbers, found.is_new, strict=True) if new
        }

    whole = read(0)
    assert read(start) == {at: numbers for at, numbers in whole.items() if at >= minute(start)}
