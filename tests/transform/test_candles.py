"""Events in, candles out: few rows, both visible."""

from __future__ import annotations

from decimal import Decimal

from include.settings import Settings
from include.warehouse.db import connect
from tests.transform.events import accept, at, bar, quote, trade
from tests.transform.marts import build, rows

CANDLES = (
    "select to_char(candle_start, 'HH24:MI'), open::float, high::float, low::float, close::float, volume::float, "
    "basis, is_final from marts.candles_1m order by symbol, candle_start, source"
)


def test_trades_become_a_candle_in_the_order_of_time_then_id(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        accept(
            conn,
            [
                trade("AAPL", "10:00:59.9", 12, 3, "10"),
                trade("AAPL", "10:00:05", 10, 1, "10"),  # the same time: 9 before 10
                trade("AAPL", "10:00:05", 11, 2, "9"),
                trade("AAPL", "10:01:00", 9, 5, "11"),  # the first moment of the next candle
            ],
            {"replay": at("10:01")},
        )
        build(marts_settings)
        assert rows(conn, CANDLES) == [
            ("10:00", 11, 12, 10, 12, 6, "trade", True),
            ("10:01", 9, 9, 9, 9, 5, "trade", False),
        ]
        assert rows(conn, "select vwap, trade_count from marts.candles_1m order by candle_start limit 1") == [
            (Decimal("11.3333333333333333"), 3)
        ]


def test_the_volume_of_quotes_is_how_much_the_days_volume_grew(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        accept(
            conn,
            [
                quote("AAPL", "10:00:10", 10, day_volume=100),  # the first of the day: nothing to compare with
                quote("AAPL", "10:01:10", 11, day_volume=130),
                quote("AAPL", "10:01:50", 12, day_volume=135),
                quote("AAPL", "10:02:10", 12, day_volume=20),  # went down: unknown
                quote("AAPL", "10:05:00", 13),  # the vendor does not say
                quote("AAPL", "10:06:00", 13, day_volume=50),
            ],
        )
        build(marts_settings)
        assert rows(conn, "select to_char(candle_start, 'HH24:MI'), volume from marts.candles_1m order by 1") == [
            ("10:00", None),
            ("10:01", 35),
            ("10:02", None),
            ("10:05", None),
            ("10:06", None),
        ]


def test_a_late_quote_changes_its_candle_and_the_volume_of_the_next(marts_settings: Settings) -> None:
    volumes = "select to_char(candle_start, 'HH24:MI'), volume from marts.candles_1m order by 1"
    with connect(marts_settings) as conn:
        accept(conn, [quote("AAPL", "10:00", 10, day_volume=100), quote("AAPL", "10:09", 11, day_volume=190)])
        build(marts_settings)
        assert rows(conn, volumes) == [("10:00", None), ("10:09", 90)]
        accept(conn, [quote("AAPL", "10:03", 10, day_volume=120)])
        build(marts_settings)
        assert rows(conn, volumes) == [("10:00", None), ("10:03", 20), ("10:09", 70)]


def test_trades_come_before_bars_before_quotes(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        accept(conn, [quote("AAPL", "10:00:10", 10, source="replay"), bar("AAPL", "10:00", (11, 11, 11, 11), 5)])
        build(marts_settings)
        assert rows(conn, CANDLES) == [("10:00", 11, 11, 11, 11, 5, "bar", False)]
        accept(conn, [trade("AAPL", "10:00:30", 12, 1, "1")])
        build(marts_settings)
        assert rows(conn, CANDLES) == [("10:00", 12, 12, 12, 12, 1, "trade", False)]


def test_a_candle_becomes_final_when_its_source_is_complete(marts_settings: Settings) -> None:
    finals = (
        "select c.is_final, f.is_final, i.is_final from marts.candles_1m c, marts.candles_5m f, marts.indicators_1m i"
    )
    with connect(marts_settings) as conn:
        accept(conn, [quote("AAPL", "10:03:10", 10)], {"simulator": at("10:03:59")})
        build(marts_settings)
        assert rows(conn, finals) == [(False, False, False)]
        accept(conn, [], {"simulator": at("10:04")})
        build(marts_settings)
        assert rows(conn, finals) == [(True, False, True)]
        accept(conn, [], {"simulator": at("10:05")})
        build(marts_settings)
        assert rows(conn, finals) == [(True, True, True)]


def test_of_two_revisions_the_one_received_later_holds(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        accept(conn, [quote("AAPL", "10:00:10", 11, received_at=at("10:00:30"))])
        build(marts_settings)
        accept(conn, [quote("AAPL", "10:00:10", 10, received_at=at("10:00:20"))])
        build(marts_settings)
        assert rows(conn, "select price::int, close::int from marts.quotes, marts.candles_1m") == [(11, 11)]
        accept(conn, [quote("AAPL", "10:00:10", 12, received_at=at("10:00:40"))])
        build(marts_settings)
        assert rows(conn, "select price::int, close::int from marts.quotes, marts.candles_1m") == [(12, 12)]


def test_five_minutes_are_made_of_their_minutes(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        accept(
            conn,
            [
                trade("AAPL", "10:00:00", 10, 1, "1"),
                trade("AAPL", "10:02:00", 14, 2, "2"),
                trade("AAPL", "10:04:59", 12, 1, "3"),
                trade("AAPL", "10:05:00", 11, 1, "4"),
            ],
        )
        build(marts_settings)
        five = CANDLES.replace("candles_1m", "candles_5m")
        assert rows(conn, five) == [
            ("10:00", 10, 14, 10, 12, 4, "trade", False),
            ("10:05", 11, 11, 11, 11, 1, "trade", False),
        ]
        assert rows(conn, "select vwap, trade_count from marts.candles_5m order by candle_start limit 1") == [
            (Decimal("12.5"), 3)
        ]


def test_events_of_loads_that_are_not_accepted_stay_out(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        load_id = accept(conn, [quote("AAPL", "10:00:10", 10)])
        conn.execute(
            "with moved as (delete from raw.market_events returning *) insert into raw.landed_events "
            "select load_id, 1, source, kind, symbol, event_time, vendor_id, payload_hash, payload, received_at "
            "from moved"
        )
        build(marts_settings)
        assert rows(conn, "select 1 from marts.quotes union all select 1 from marts.candles_1m") == []
        audited = rows(conn, "select load_id, is_accepted, line_number, price from intermediate.int_quotes__unioned")
        assert audited == [(load_id, False, 1, 10)]
