"""What of a series is made again after a change: minutes in, spans out, both visible; and what that costs."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta

import pytest

from include.events import Event
from include.instruments import load_instruments
from include.settings import Settings
from include.transform.runner import build_changed
from include.warehouse.db import connect
from tests.conftest import Servers, make_warehouse, warehouse_settings
from tests.transform.events import DAY, accept, at, bar, close, event
from tests.transform.marts import build, rebuild_tables, rows, snapshot

SPANS = (
    "select to_char(from_candle, 'DD HH24:MI'), to_char(until_candle, 'DD HH24:MI') "
    "from intermediate.int_changed_spans order by symbol, from_candle"
)

TOUCHED = (
    "select schemaname || '.' || relname, "
    "coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) + n_tup_ins + n_tup_upd "
    "from pg_stat_user_tables where schemaname in ('raw', 'marts', 'intermediate')"
)


def day(number: int, minutes: Iterable[int], price: float = 10) -> list[Event]:
    """Bars of AAPL on the n-th day (1: 2 March), these minutes after 00:00."""
    prices = dict.fromkeys(("open", "high", "low", "close"), price)
    start = DAY + timedelta(days=number - 1)
    return [
        event("bar", "AAPL", start + timedelta(minutes=minute), {"resolution": "1m", **prices, "volume": 1})
        for minute in minutes
    ]


@pytest.fixture(scope="module")
def of_two_days(servers: Servers, template_marts: str) -> str:
    name = f"two_days_{uuid.uuid4().hex[:8]}"
    make_warehouse(servers, name, template=template_marts)
    made = warehouse_settings(servers, name)
    with connect(made) as conn:
        accept(conn, day(1, range(60)) + day(3, range(60)))
        build(made)
    return name


@pytest.fixture
def two_days(make_settings: Callable[..., Settings], of_two_days: str) -> Settings:
    """Candles from 00:00 to 00:59 of 2 March and of 4 March."""
    return make_settings(template=of_two_days)


@pytest.mark.parametrize(
    ("changed", "spans"),
    [
        pytest.param(day(1, [10]), [("02 00:10", "02 00:31")], id="and the twenty that look back on it"),
        pytest.param(day(1, [50]), [("02 00:50", "04 00:11")], id="over the end of the day"),
        pytest.param(day(1, [59]), [("02 00:59", "04 01:00")], id="a day's close: all of the next day there is"),
        pytest.param(day(2, [5]), [("03 00:05", "04 01:00")], id="a day between two"),
        pytest.param(day(0, [5]), [("01 00:05", "02 01:00")], id="a day below all"),
        pytest.param(day(3, [59]), [("04 00:59", "04 01:00")], id="the last of all"),
        pytest.param(day(1, [10, 30]), [("02 00:10", "02 00:51")], id="what lies as near as that is one"),
        pytest.param(day(1, [0, 30]), [("02 00:00", "02 00:21"), ("02 00:30", "02 00:51")], id="what does not is two"),
        pytest.param(day(1, range(30, 60)) + day(2, range(3)), [("02 00:30", "04 01:00")], id="over midnight"),
    ],
)  # fmt: skip
def test_a_change_reaches_as_far_as_windows_and_days_do(
    two_days: Settings, changed: list[Event], spans: list[tuple[str, str]]
) -> None:
    with connect(two_days) as conn:
        accept(conn, [revised(one) for one in changed])
        build_changed(two_days)
        assert rows(conn, SPANS) == spans
        piecewise = snapshot(conn)
    rebuild_tables(two_days)
    with connect(two_days) as conn:
        assert snapshot(conn) == piecewise


def revised(one: Event) -> Event:
    later = one.event_time + timedelta(hours=1)
    return event(
        "bar", one.symbol, one.event_time, one.payload | {"high": 11, "close": 11}, vendor_id="z", received_at=later
    )


def test_a_candle_of_a_source_that_does_not_count_is_no_candle_to_look_back_on(marts_settings: Settings) -> None:
    live = marts_settings.model_copy(update={"sources": ["yahoo"]})
    with connect(live) as conn:
        accept(conn, [close("yahoo", f"10:{minute:02}", 10) for minute in range(30)])
        accept(conn, [event("quote", "AAPL", at(f"10:{minute:02}"), {"price": 1}) for minute in range(2, 30)])
        build(live)
        accept(conn, [close("yahoo", "10:00", 11, vendor_id="z")])
        build_changed(live)
        assert rows(conn, SPANS) == [("02 10:00", "02 10:21")]


def touched(settings: Settings, present: int) -> dict[str, int]:
    """Rows of each table that are read or written when a day comes below so many days, and what is written."""
    with connect(settings) as conn:
        accept(conn, [one for number in range(2, 2 + present) for one in of_the_market(number, 10 + number)])
        build(settings)
        conn.execute("vacuum analyze")
        before = dict(rows(conn, TOUCHED))
        accept(conn, of_the_market(1, 10))
        written = {node.name: node.rows for node in build(settings).nodes}
        rows(conn, "select pg_stat_clear_snapshot()")
        after = dict(rows(conn, TOUCHED))
    assert written["candles_1m"] == 60
    # behind the day the change of an EMA dies away: after so many candles every number is the one that was there
    assert 60 + 200 < written["indicators_1m"] < 60 + 700
    return {table: after[table] - before.get(table, 0) for table in after}


def of_the_market(number: int, price: float) -> list[Event]:
    """A bar every 24 minutes of the n-th day, by a source that is compared with others."""
    whens = [DAY + timedelta(days=number - 1, minutes=minute) for minute in range(0, 1440, 24)]
    return [replace(close("yahoo", "00:00", price), event_time=when, received_at=when) for when in whens]


def test_a_day_below_a_hundred_days_touches_what_a_day_below_twenty_touches(
    marts_settings: Settings, make_settings: object, template_marts: str
) -> None:
    other = make_settings(template=template_marts)  # type: ignore[operator]
    few, many = (
        touched(one.model_copy(update={"sources": ["yahoo"]}), days)
        for one, days in ((marts_settings, 20), (other, 100))
    )
    assert sum(few.values()) > 1000
    assert {table: count for table, count in many.items() if count > few[table] + 500} == {}, (few, many)


def test_a_minute_of_all_symbols_above_a_hundred_days_reads_no_more_than_the_candles_it_lies_in(
    marts_settings: Settings,
) -> None:
    symbols = [one.symbol for one in load_instruments(marts_settings.instruments_file)]

    def quoted(clock: str, price: int, days: int = 1) -> list[Event]:
        whens = [at(clock) - timedelta(days=number) for number in range(days)]
        return [event("quote", symbol, when, {"price": price}) for when in whens for symbol in symbols]

    with connect(marts_settings) as conn:
        accept(conn, quoted("15:00", 10, days=100), {"simulator": at("15:01")})
        build(marts_settings)
        conn.execute("vacuum analyze")
        before = dict(rows(conn, TOUCHED))
        accept(conn, quoted("15:01", 11), {"simulator": at("15:02")})
        written = {node.name: node.rows for node in build(marts_settings).nodes}
        rows(conn, "select pg_stat_clear_snapshot()")
        touched = {table: count - before[table] for table, count in rows(conn, TOUCHED)}
    count = len(symbols)
    assert {written[f"candles_{name}"] for name in ("1m", "5m", "15m", "1h", "1d")} == {count}
    read = {name: touched[f"marts.candles_{name}"] for name in ("5m", "15m", "1h", "1d")}
    assert all(rows <= 20 * count for rows in read.values()), read  # of 100 days there are 100 candles a symbol


def test_a_minute_after_a_long_gap_is_found_whatever_was_before(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        accept(conn, [bar("AAPL", "10:00", (10,) * 4, 1), bar("AAPL", "10:20", (20,) * 4, 1)])
        build(marts_settings)
        accept(conn, [bar("AAPL", "10:10", (16,) * 4, 1)])
        build(marts_settings)
        found = rows(conn, "select close, return from marts.indicators_1m order by candle_start")
    assert found == [(10, None), (16, pytest.approx(0.6)), (20, pytest.approx(0.25))]
