"""A warehouse that an older version made, with data in it, goes on after the upgrade."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from include.settings import Settings
from include.warehouse.db import connect
from include.warehouse.migrate import migrate
from tests.transform.events import accept, at, close, event, quote, trade
from tests.transform.marts import build, rows

# One accepted quote in a warehouse of version 0001, and the marts as dbt had made them, with one final candle in them.
OLD_EVENTS = """
insert into ops.loads (origin, state, is_live, read_count, inserted_count, duplicate_count)
values ('raw/old', 'transformed', true, 1, 1, 0);
insert into raw.market_events (source, kind, symbol, event_time, payload_hash, payload, received_at, load_id)
values ('simulator', 'quote', 'AAPL', '2026-03-02T10:00Z', md5('10')::uuid, '{"price": 10}', '2026-03-02T10:00Z', 1);
insert into ops.watermarks values ('simulator', '2026-03-02T10:01Z');
insert into ops.transform_watermarks select * from ops.watermarks;
"""
OLD_MARTS = """
create table marts.quotes as
select source, symbol, event_time, vendor_id, 10::numeric as price, null::numeric as bid, null::numeric as ask,
       null::numeric as previous_close, null::numeric as change_percent, null::numeric as day_volume,
       null::numeric as volume_24h, received_at
from raw.market_events;
create unique index on marts.quotes (symbol, event_time, source);
create table marts.trades (
    source text, symbol text, trade_id text, event_time timestamptz, vendor_id text, price numeric, size numeric,
    side text, received_at timestamptz
);
create unique index on marts.trades (symbol, event_time, source, vendor_id);
create table marts.candles_1m as
select symbol, source, event_time as candle_start, price as open, price as high, price as low, price as close,
       null::numeric as volume, null::numeric as vwap, null::bigint as trade_count, 'quote' as basis,
       null::numeric as previous_close, true as is_final
from marts.quotes;
create unique index on marts.candles_1m (symbol, candle_start, source);
create table marts.indicators_1m as
select symbol, candle_start, source, close::double precision as close, volume::double precision as volume, is_final
from marts.candles_1m;
create unique index on marts.indicators_1m (symbol, candle_start);
create table intermediate.int_changed_minutes (source text, symbol text, candle_start timestamptz);
create view intermediate.int_changed_symbols as
select symbol, min(candle_start) as from_candle from intermediate.int_changed_minutes group by symbol;
insert into ops.built_from values ('dbt', 'an older one'), ('indicators', 'current');
insert into ops.instruments values ('AAPL', 'equity', 'USD', 'XNYS', 'simulator');
"""


@pytest.fixture
def old(make_settings: Callable[..., Settings]) -> Settings:
    """Migrated to 0001, one accepted quote, and the marts made of it."""
    settings = make_settings(template="template0")
    assert migrate(settings, revision="0001") == "0001"
    with connect(settings) as conn:
        conn.execute(OLD_EVENTS)
        conn.execute(OLD_MARTS)
    return settings


def test_events_of_before_stay_and_the_new_kind_is_taken(old: Settings) -> None:
    dividend = event("action", "AAPL", at("14:30"), {"amount": 1}, source="yahoo", vendor_id="dividend")
    with connect(old) as conn:
        with pytest.raises(psycopg.errors.CheckViolation):
            conn.execute("update raw.market_events set kind = 'action'")
        migrate(old)
        accept(conn, [dividend])
        assert rows(conn, "select kind from raw.market_events order by kind") == [("action",), ("quote",)]


def test_the_next_transform_makes_the_marts_anew_where_their_columns_changed(old: Settings) -> None:
    migrate(old)
    with connect(old) as conn:
        accept(conn, [close("yahoo", "10:01", 11, session="regular")], {"yahoo": at("10:02")})
        build(old)
        assert rows(conn, "select source, close::int, session from marts.candles_1m order by candle_start") == [
            ("simulator", 10, None),
            ("yahoo", 11, "regular"),
        ]
        assert rows(conn, "select source, is_fallback, close from marts.indicators_1m order by candle_start") == [
            ("simulator", True, 10),
            ("yahoo", False, 11),
        ]
        assert rows(conn, "select primary_source, fallbacks from marts.instruments where symbol = 'AAPL'") == [
            ("yahoo", ["polygon", "alphavantage"])
        ]


def test_what_a_build_that_died_before_the_upgrade_had_found_is_made_after_it(old: Settings) -> None:
    with connect(old) as conn:
        conn.execute(  # an older build made the candle final, and died before it made the indicators
            "insert into intermediate.int_changed_minutes values ('simulator', 'AAPL', '2026-03-02T10:00Z'); "
            "update marts.indicators_1m set is_final = false; alter table marts.indicators_1m add is_fallback boolean"
        )
        migrate(old)
        accept(conn, [])
        build(old)
        assert rows(conn, "select is_final from marts.indicators_1m") == [(True,)]
        assert rows(conn, "select table_name, table_type from information_schema.tables where table_schema = "
                    "'intermediate' and table_name like 'int_changed_%' order by 1") == [
            ("int_changed_minutes", "VIEW"), ("int_changed_ranges", "BASE TABLE"), ("int_changed_spans", "VIEW"),
        ]  # fmt: skip
        assert rows(conn, "select * from intermediate.int_changed_minutes") == []


def test_indicators_that_are_new_are_there_for_the_candles_of_before(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        accept(conn, [quote("AAPL", "15:00", 10), quote("AAPL", "15:01", 12)])
        build(marts_settings)
        conn.execute(  # as an older version made them
            "drop table marts.indicators_15m, marts.indicators_1h, marts.indicators_1d cascade; "
            "alter table marts.indicators_1m drop column ema_12 cascade, drop column true_range cascade; "
            "update ops.built_from set hash = 'an older one' where name = 'dbt'"
        )
        accept(conn, [quote("AAPL", "15:02", 15)])
        build(marts_settings)
        assert rows(conn, "select true_range::int from marts.indicators_1m order by candle_start") == [
            (None,), (2,), (3,),
        ]  # fmt: skip
        assert rows(conn, "select close::int from marts.indicators_1h") == [(15,)]


def test_candles_of_before_get_what_a_longer_vwap_is_weighted_by(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        accept(conn, [trade("AAPL", "15:00", 10, 2, "1"), quote("AAPL", "15:01", 20, source="replay")])
        build(marts_settings)
        conn.execute(  # as they were made before there were longer ones
            "drop table marts.candles_1d, marts.candles_1h, marts.candles_15m cascade; "
            "alter table marts.candles_5m drop column priced_volume cascade; delete from ops.sessions; "
            "update ops.built_from set hash = 'an older one' where name = 'dbt'"
        )
        accept(conn, [trade("AAPL", "15:02", 13, 1, "2")])
        build(marts_settings)
        for name in ("5m", "15m", "1h", "1d"):
            assert rows(
                conn, f"select high::int, volume::int, vwap::int, priced_volume::int from marts.candles_{name}"
            ) == [(20, 3, 11, 3)]
