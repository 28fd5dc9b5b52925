"""Movers, hours, sources, spreads, sessions and portfolios: a few rows in, a few numbers by hand out."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from tests.analytics.pictures import asked, day_candles, minute_candles, newest
from tests.transform.events import at

NOON = at("12:00")


def test_movers_are_told_from_the_newest_candle_of_each(marts: psycopg.Connection) -> None:
    hours = [(24.5, 80), (24, 100), (1.5, 110), (0.5, 130), (0, 120)]
    newest(marts, "BTC-USD", [(NOON - timedelta(hours=ago), close) for ago, close in hours], previous=96)
    newest(marts, "ETH-USD", [(NOON - timedelta(hours=2), 10), (NOON - timedelta(minutes=30), 8)], previous=10)
    newest(marts, "SOL-USD", [(NOON, 5)], previous=5)
    assert asked(
        marts, "select symbol, age, round(change_1h::numeric, 6)::float8, round(change_24h::numeric, 6)::float8, "
        "round(change_session::numeric, 6)::float8, "
        "rank_1h, rank_24h, rank_session from marts.top_movers order by symbol",
    ) == [
        ("BTC-USD", timedelta(0), 9.090909, 20, 25, 2, 1, 1),  # 120 against 110, against 100, against 96
        ("ETH-USD", timedelta(minutes=30), -20, None, -20, 1, None, 2),
        ("SOL-USD", timedelta(0), None, None, 0, None, None, 3),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def sessions(marts: psycopg.Connection) -> None:
    marts.execute(
        "insert into ops.sessions select 'XNYS', day::date, day + interval '14:30', day + interval '21:00' "
        "from generate_series('2026-03-02 00:00Z'::timestamptz, '2026-03-04Z', '1 day') as day"
    )


@pytest.mark.usefixtures("sessions")
def test_volume_by_hour_of_the_day_and_of_the_session(marts: psycopg.Connection) -> None:
    insert = (
        "insert into marts.candles_{} (symbol, source, candle_start, open, high, low, close, volume, basis, is_final) "
        "values ('AAPL', 'simulator', %s, 1, 1, 1, 1, %s, 'bar', true)"
    )
    quarters = [("14:15", 7), ("14:30", 10), ("15:15", 20), ("15:30", 30), ("20:45", 40)]
    for day, times in ((0, 1), (1, 3)):
        rows = [(at(clock) + timedelta(days=day), volume * times) for clock, volume in quarters]
        marts.cursor().executemany(insert.format("15m").encode(), rows)
        hours = [(at(clock) + timedelta(days=day), volume * times) for clock, volume in (("14:00", 17), ("15:00", 50))]
        marts.cursor().executemany(insert.format("1h").encode(), hours)
    got = asked(
        marts,
        "select clock, hour, day_count, mean_volume, median_volume, volume_share from marts.volume_by_hour "
        "order by 1, 2",
    )
    assert got == [
        ("session", 0, 2, 60, 60, 0.3),  # 10 and 20, thrice as much on the second day
        ("session", 1, 2, 60, 60, 0.3),
        ("session", 6, 2, 80, 80, 0.4),
        ("utc", 14, 2, 34, 34, pytest.approx(17 / 67)),
        ("utc", 15, 2, 100, 100, pytest.approx(50 / 67)),
    ]


def test_two_sources_are_compared_in_the_minutes_that_both_have(marts: psycopg.Connection) -> None:
    minutes = [NOON + timedelta(minutes=n) for n in range(5)]
    minute_candles(marts, "BTC-USD", zip(minutes, (100, 100, 100, 100), strict=False), source="coinbase")
    minute_candles(marts, "BTC-USD", zip(minutes[1:], (100, 101, 99, 7), strict=True), source="kraken")
    minute_candles(marts, "BTC-USD", [(minutes[1], 900)])  # invented
    assert asked(
        marts, "select symbol, source, other_source, minutes, other_minutes, common_minutes, coverage, "
        "median_basis_points, round(median_distance::numeric, 4)::float8, round(max_distance::numeric, 4)::float8 "
        "from marts.source_comparison where day = '2026-03-02'",
    ) == [("BTC-USD", "coinbase", "kraken", 4, 4, 3, 0.6, 0, 99.5025, 100.5025)]  # fmt: skip


def test_spreads_are_told_by_the_hour(marts: psycopg.Connection) -> None:
    quotes = [("12:00", 99, 101), ("12:45", 99.5, 100.5), ("12:54", 101, 100), ("13:00", 99, 101), ("13:30", None, 101)]
    marts.cursor().executemany(
        "insert into marts.quotes (source, symbol, event_time, vendor_id, price, bid, ask, received_at) "
        "values ('kraken', 'ETH-USD', %s, '', 100, %s, %s, %s)",
        [(at(clock), bid, ask, at(clock)) for clock, bid, ask in quotes],
    )
    # 200 basis points for 45 minutes, 100 for 9; then crossed
    assert asked(
        marts, "select hour_start, quote_count, crossed_count, median_spread, median_basis_points, p95_basis_points, "
        "round(time_weighted_basis_points::numeric, 6)::float8 from marts.spread_statistics "
        "where hour_start >= '2026-03-02 12:00Z' order by 1",
    ) == [(NOON, 2, 1, 1.5, 150, 195, 183.333333), (at("13:00"), 1, 0, 2, 200, 200, 200)]  # fmt: skip


@pytest.mark.usefixtures("sessions")
def test_a_session_in_one_row(marts: psycopg.Connection) -> None:
    first = date(2026, 3, 2)
    day_candles(marts, "MSFT", [(first, 100)], source="yahoo")
    day_candles(marts, "MSFT", [(first + timedelta(days=1), 54)], source="yahoo", open=52)
    day_candles(marts, "MSFT", [(first + timedelta(days=1), 77)], source="alphavantage")
    day_candles(marts, "MSFT", [(first + timedelta(days=2), 55)], source="yahoo", final=False)
    marts.execute("insert into ops.listed_actions values ('MSFT', '2026-03-03', 'split', 2, null, null)")
    minute_candles(marts, "MSFT", [(at("14:30"), 1), (at("20:59"), 1), (at("21:00"), 1)], source="yahoo")
    day_candles(marts, "LTC-USD", [(first, 9)], source="coinbase", hour=0)
    minute_candles(marts, "LTC-USD", [(at("00:00"), 9), (at("23:59"), 9)], source="coinbase")
    assert asked(
        marts, "select symbol, session_date, source, previous_close, round(gap_percent::numeric, 6)::float8, range, "
        "round(range_percent::numeric, 6)::float8, missing_minutes from marts.session_summary order by 1, 2",
    ) == [
        ("LTC-USD", first, "coinbase", None, None, 0, 0, 1438),
        ("MSFT", first, "yahoo", None, None, 0, 0, 388),
        ("MSFT", first + timedelta(days=1), "yahoo", 50, 4, 2, 3.846154, 390),  # 100 before the split are 50
        ("MSFT", first + timedelta(days=2), "yahoo", 54, pytest.approx(1.851852), 0, 0, None),
    ]  # fmt: skip


def test_portfolios_at_the_newest_price_and_day_by_day(marts: psycopg.Connection) -> None:
    marts.execute("delete from ops.portfolio_positions")
    marts.execute("delete from marts.candles_1d")
    marts.cursor().executemany(
        "insert into ops.portfolio_positions values (%s, %s, %s, %s)",
        [("mine", "MSFT", 10, 40), ("mine", "XRP-USD", -100, 0.5), ("mine", "WHAT", 1, 1), ("idle", "DOT-USD", 1, 0)],
    )
    newest(marts, "MSFT", [(NOON, 50)], previous=48)
    newest(marts, "XRP-USD", [(NOON, 1)], previous=2)
    assert asked(
        marts, "select portfolio, symbol, price, value, profit, profit_percent, session_profit, weight, "
        "portfolio_value, portfolio_profit from marts.portfolio_value order by 1, 2",
    ) == [
        ("idle", "DOT-USD", None, None, None, None, None, None, None, None),
        ("mine", "MSFT", 50, 500, 100, 25, 20, pytest.approx(5 / 6), 400, 50),
        ("mine", "WHAT", None, None, None, None, None, None, 400, 50),
        ("mine", "XRP-USD", 1, -100, -50, -100, 100, pytest.approx(-1 / 6), 400, 50),
    ]  # fmt: skip
    # MSFT was split 2:1 on the 3rd: 10 shares of today were 5 at 90
    saturday = date(2026, 2, 28)
    day_candles(marts, "XRP-USD", [(saturday + timedelta(days=n), 1 + n) for n in range(4)])
    day_candles(marts, "MSFT", [(date(2026, 3, 1), 90), (date(2026, 3, 3), 46)])
    assert asked(
        marts, "select symbol, session_date::text, price, is_carried, value, profit, portfolio_value, portfolio_profit "
        "from marts.portfolio_history where portfolio = 'mine' and session_date <> '2026-03-02' order by 2, 1",
    ) == [
        ("XRP-USD", "2026-02-28", 1, False, -100, -50, -100, -50),
        ("MSFT", "2026-03-01", 45, False, 450, 50, 250, -100),
        ("XRP-USD", "2026-03-01", 2, False, -200, -150, 250, -100),
        ("MSFT", "2026-03-03", 46, False, 460, 60, 60, -290),
        ("XRP-USD", "2026-03-03", 4, False, -400, -350, 60, -290),
    ]  # fmt: skip
    monday = (
        "select price, is_carried from marts.portfolio_history where symbol = 'MSFT' and session_date = '2026-03-02'"
    )
    assert asked(marts, monday) == [(45, True)]


def test_coins_are_alike_within_an_hour_where_their_minutes_are(marts: psycopg.Connection) -> None:
    start = datetime(2026, 3, 5, 10, tzinfo=UTC)
    up = [100 + (n * 7) % 5 for n in range(41)]
    for symbol, closes in (("LINK-USD", up), ("UNI-USD", [3 * close for close in up]), ("NEAR-USD", [2.0] * 41)):
        newest(marts, symbol, [(start + timedelta(minutes=n), close) for n, close in enumerate(closes)], previous=100)
    assert asked(
        marts, "select symbol, other_symbol, return_count, round(correlation::numeric, 9)::float8 "
        "from marts.correlations_1h where hour_start = '2026-03-05 10:00Z' order by 1, 2",
    ) == [
        ("LINK-USD", "NEAR-USD", 40, None), ("LINK-USD", "UNI-USD", 40, 1), ("NEAR-USD", "UNI-USD", 40, None)
    ]  # fmt: skip
