"""Candles in, indicators out."""

from __future__ import annotations

from datetime import timedelta

import pytest

from include.events import Event
from include.settings import Settings
from include.warehouse.db import connect
from tests.transform.events import DAY, accept, at, bar, event, quote
from tests.transform.marts import build, rows

INDICATORS = "select {} from marts.indicators_1m order by symbol, candle_start"


def closes(*prices: float) -> list[object]:
    """One bar a minute from 10:00 on."""
    return [bar("AAPL", f"10:{minute:02}", (price,) * 4, 1) for minute, price in enumerate(prices)]


def test_means_begin_when_their_window_is_full(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        accept(conn, closes(*range(1, 22)))  # type: ignore[arg-type]
        build(marts_settings)
        found = rows(conn, INDICATORS.format("sma_5, sma_20, rolling_mean, rolling_std, zscore"))
    assert [row[0] for row in found[:6]] == [None, None, None, None, 3, 4]
    assert found[18] == (17, None, None, None, None)
    assert found[19][1:3] == (10.5, 10.5)
    assert found[19][3:] == pytest.approx((5.766281297335398, 1.6475089420958281))
    assert found[20][1] == 11.5


def test_a_price_that_does_not_move_has_no_zscore(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        accept(conn, closes(*[0.1] * 21, 0.2))  # type: ignore[arg-type]
        build(marts_settings)
        found = rows(conn, INDICATORS.format("rolling_std, zscore"))
    assert found[20] == (0, None)
    assert found[21][1] == pytest.approx(4.358898943540674)


def test_return_is_against_the_candle_before_even_after_a_gap(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        accept(conn, [bar("AAPL", "10:00", (10,) * 4, 1), bar("AAPL", "10:07", (11,) * 4, 1)])
        build(marts_settings)
        assert rows(conn, INDICATORS.format("return")) == [(None,), (pytest.approx(0.1),)]


def test_change_is_against_the_last_close_of_an_earlier_day(marts_settings: Settings) -> None:
    payload = {"resolution": "1m", "open": 12, "high": 12, "low": 12, "close": 12, "volume": 1}
    with connect(marts_settings) as conn:
        accept(
            conn,
            [
                bar("AAPL", "23:58", (9,) * 4, 1),
                bar("AAPL", "23:59", (10,) * 4, 1),
                event("bar", "AAPL", DAY + timedelta(days=3), payload),
            ],
        )
        build(marts_settings)
        wanted = [(None, None), (None, None), (10, pytest.approx(20))]
        assert rows(conn, INDICATORS.format("previous_close, change_percent")) == wanted
        accept(conn, [bar("AAPL", "23:59:00", (6,) * 4, 1, received_at=at("23:59:59"))])  # a late revision
        build(marts_settings)
        wanted[2] = (6, pytest.approx(100))
        assert rows(conn, INDICATORS.format("previous_close, change_percent")) == wanted


def test_change_of_quotes_is_against_the_vendors_previous_close(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        accept(conn, [quote("AAPL", "10:00", 10, previous_close=8), quote("AAPL", "10:01", 10)])
        build(marts_settings)
        assert rows(conn, INDICATORS.format("previous_close, change_percent")) == [(8, 25), (None, None)]


def test_what_counts_since_the_session_began_does_so_whatever_build_a_candle_came_in(marts_settings: Settings) -> None:
    counted = """
        select to_char(candle_start, 'DD HH24:MI'), to_char(session_start, 'DD HH24:MI'), obv::int, running_high::int
        from marts.indicators_1m where symbol = '{}' order by candle_start
    """
    with connect(marts_settings) as conn:
        # the search for gaps knows when currencies rest; their days are those of UTC all the same
        conn.execute(
            "insert into ops.instruments values ('EUR-USD', 'forex', 'USD', 'FX', 'replay'); "
            "insert into ops.instrument_sources values ('EUR-USD', 'replay', 1); "
            "insert into ops.sessions values ('FX', '2026-03-03', '2026-03-02T22:00Z', '2026-03-03T22:00Z')"
        )
        accept(conn, [bar("AAPL", "20:59", (12,) * 4, 1), bar("EUR-USD", "21:59", (2,) * 4, 1)])
        build(marts_settings)
        accept(conn, [bar("AAPL", "21:01", (10,) * 4, 1), bar("EUR-USD", "22:01", (1,) * 4, 1)])
        build(marts_settings)
        accept(conn, [bar("AAPL", "23:59", (11,) * 4, 1), minute_of_tomorrow("AAPL"), minute_of_tomorrow("EUR-USD")])
        build(marts_settings)
        assert rows(conn, counted.format("AAPL")) == [
            ("02 20:59", "02 14:30", 0, 12),  # XNYS is open from 14:30 to 21:00
            ("02 21:01", "02 14:30", -1, 12),
            ("02 23:59", "02 14:30", 0, 12),
            ("03 00:00", "03 00:00", 0, 9),
        ]
        assert rows(conn, counted.format("EUR-USD")) == [
            ("02 21:59", "02 00:00", 0, 2),
            ("02 22:01", "02 00:00", -1, 2),
            ("03 00:00", "03 00:00", 0, 9),
        ]


def minute_of_tomorrow(symbol: str) -> Event:
    """At midnight, all its prices 9."""
    return event("bar", symbol, DAY + timedelta(days=1), {
        "resolution": "1m", **dict.fromkeys(("open", "high", "low", "close"), 9), "volume": 1,
    })  # fmt: skip


def test_the_latest_quote_of_each_symbol_and_its_age(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        accept(
            conn,
            [
                quote("AAPL", "10:00", 10),
                quote("AAPL", "10:02", 11, source="replay"),
                quote("ETH-USD", "10:01", 3),
            ],
            {"simulator": at("10:04")},
        )
        build(marts_settings)
        assert rows(conn, "select symbol, price, source, age from marts.latest_quotes order by symbol") == [
            ("AAPL", 11, "replay", timedelta(minutes=2)),
            ("ETH-USD", 3, "simulator", timedelta(minutes=3)),
        ]
