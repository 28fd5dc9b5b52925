"""The candles of trading days: minutes in, days out, and what a change of an exchange's sessions makes of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import yaml

from include.calendars import ALWAYS, AROUND_THE_CLOCK, dated_sessions
from include.events import Event, Window
from include.instruments import CALENDARS
from include.settings import ROOT, Settings
from include.transform.instruments import recall
from include.warehouse.db import connect
from include.warehouse.sessions import sync_sessions
from tests.transform.events import accept, event
from tests.transform.marts import build, rebuild, rows, snapshot, unlike_their_minutes


def minute(when: str, price: float, symbol: str = "AAPL") -> Event:
    """A bar of that minute (UTC), all its prices the same."""
    prices = dict.fromkeys(("open", "high", "low", "close"), price)
    return event("bar", symbol, moment(when), {"resolution": "1m", **prices, "volume": 1})


def moment(when: str) -> datetime:
    return datetime.fromisoformat(f"{when}+00:00")


def days(conn: psycopg.Connection, symbol: str = "AAPL") -> list[str]:
    """`2025-11-28 14:30 10 10-12 12 x3 final`: date, start, open, low to high, close, volume, whether it is final."""
    found = rows(
        conn,
        f"""select format('%s %s %s %s-%s %s x%s%s', session_date, to_char(candle_start, 'HH24:MI'), open, low, high,
                          close, volume, case when is_final then ' final' else '' end)
            from marts.candles_1d where symbol = '{symbol}' order by candle_start""",
    )
    return [text for (text,) in found]


def test_a_day_is_what_the_exchange_was_open_and_late_minutes_come_into_it(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        accept(
            conn,
            [
                minute("2025-11-26 14:29", 1),  # before the opening
                minute("2025-11-26 14:30", 10),
                minute("2025-11-26 20:59", 12),
                minute("2025-11-26 21:00", 1),  # after the close
                minute("2025-11-27 15:00", 1),  # Thanksgiving
                minute("2025-11-28 17:59", 20),  # half a day
                minute("2025-11-28 18:00", 1),
                minute("2026-03-09 13:30", 30),  # the clocks of New York were put forward the day before
                minute("2026-03-09 20:00", 1),
                minute("2025-11-27 00:00", 5, "BTC-USD"),
                minute("2025-11-27 23:59", 6, "BTC-USD"),
                minute("2025-11-28 00:00", 7, "BTC-USD"),
            ],
            {"replay": moment("2025-11-28 18:00")},
        )
        build(marts_settings)
        assert days(conn) == [
            "2025-11-26 14:30 10 10-12 12 x2 final",
            "2025-11-28 14:30 20 20-20 20 x1 final",
            "2026-03-09 13:30 30 30-30 30 x1",
        ]
        assert days(conn, "BTC-USD") == ["2025-11-27 00:00 5 5-6 6 x2 final", "2025-11-28 00:00 7 7-7 7 x1"]
        accept(
            conn,
            [minute("2025-11-26 17:00", 14), minute("2025-11-25 17:00", 9), minute("2025-11-28 13:00", 1)],
            {"replay": moment("2026-03-09 20:00")},
        )
        written = {node.name: node.rows for node in build(marts_settings).nodes}
        assert days(conn) == [
            "2025-11-25 14:30 9 9-9 9 x1 final",
            "2025-11-26 14:30 10 10-14 12 x3 final",
            "2025-11-28 14:30 20 20-20 20 x1 final",
            "2026-03-09 13:30 30 30-30 30 x1 final",
        ]
        assert days(conn, "BTC-USD")[1] == "2025-11-28 00:00 7 7-7 7 x1 final"
        assert written["candles_1d"] == 4, "two with late minutes, two that are final now"
        assert unlike_their_minutes(conn) == []
        piecewise = snapshot(conn)
        rebuild(marts_settings)
        assert snapshot(conn) == piecewise


def counted_since(conn: psycopg.Connection, resolution: str = "1m") -> list[str]:
    """`03-03 14:30 since 03-03 14:30`: each row of indicators, and when the session began that it counts in."""
    found = rows(
        conn,
        f"""select to_char(candle_start, 'MM-DD HH24:MI') || ' since ' || to_char(session_start, 'MM-DD HH24:MI')
            from marts.indicators_{resolution} where symbol = 'AAPL' order by candle_start""",
    )
    return [text for (text,) in found]


def test_what_is_made_of_sessions_that_are_otherwise_now_is_made_anew(marts_settings: Settings, tmp_path: Path) -> None:
    week = Window(moment("2026-03-02 00:00"), moment("2026-03-07 00:00"))
    traded = [minute("2026-03-03 14:30", 10), minute("2026-03-03 20:59", 12), minute("2026-03-04 15:00", 20)]
    right = ["2026-03-03 14:30 10 10-12 12 x2", "2026-03-04 14:30 20 20-20 20 x1"]
    counted = ["03-03 14:30 since 03-03 14:30", "03-03 20:59 since 03-03 14:30", "03-04 15:00 since 03-04 14:30"]
    with connect(marts_settings) as conn:
        accept(conn, traded)
        build(marts_settings)
        assert (days(conn), recall(conn, "days")) == (right, None), "days that come in for the first time"
        assert counted_since(conn) == counted
        # as an older version of the calendars had said it: half a day, and a holiday
        conn.execute(
            "update ops.sessions set closes_at = closes_at - interval '3 hours' where session_date = '2026-03-03'; "
            "delete from ops.sessions where session_date = '2026-03-04'; delete from marts.candles_1d; "
            "insert into marts.candles_1d select symbol, source, candle_start, '2026-03-03', open, high, low, close, "
            "volume, vwap, priced_volume, trade_count, basis, is_final from marts.candles_5m limit 1; "
            "update marts.indicators_1m set session_start = date_trunc('day', candle_start, 'UTC'); "
            "update marts.indicators_1h set session_start = date_trunc('day', candle_start, 'UTC'); "
            "delete from marts.indicators_1d where candle_start > '2026-03-04'"
        )
        sync_sessions(conn, "XNYS", week)
        accept(conn, [])
        build(marts_settings)
        assert (days(conn), recall(conn, "days")) == (right, "current")
        assert counted_since(conn) == counted
        # the hour in which the exchange opens
        assert counted_since(conn, "1h") == [
            "03-03 14:00 since 03-03 14:30", "03-03 20:00 since 03-03 14:30", "03-04 15:00 since 03-04 14:30",
        ]  # fmt: skip
        assert counted_since(conn, "1d") == ["03-03 14:30 since 03-03 14:30", "03-04 14:30 since 03-04 14:30"]
        # the library was upgraded, and no longer knows of a session
        conn.execute(
            "insert into ops.sessions values ('XNYS', '2026-03-07', '2026-03-07T14:30Z', '2026-03-07T21:00Z'); "
            "update ops.built_from set hash = 'an older one' where name = 'calendars'"
        )
        accept(conn, [minute("2026-03-07 15:00", 1)])
        build(marts_settings)
        assert days(conn) == right
        assert counted_since(conn) == [*counted, "03-07 15:00 since 03-07 00:00"]
        # from now on the instrument is traded around the clock
        listing = tmp_path / "instruments.csv"
        listing.write_text(
            "symbol,asset_class,currency,calendar,primary_source,simulator\nAAPL,crypto,USD,24/7,simulator,AAPL\n"
        )
        accept(conn, [])
        build(marts_settings.model_copy(update={"instruments_file": listing}))
        assert days(conn) == [
            "2026-03-03 00:00 10 10-12 12 x2",
            "2026-03-04 00:00 20 20-20 20 x1",
            "2026-03-07 00:00 1 1-1 1 x1",
        ]
        assert counted_since(conn)[0] == "03-03 14:30 since 03-03 00:00"


def test_a_session_that_changes_before_minutes_of_its_day_makes_them_outdated(marts_settings: Settings) -> None:
    week = Window(moment("2026-03-02 00:00"), moment("2026-03-07 00:00"))
    candle = "insert into marts.candles_5m (symbol, source, candle_start) values ('AAPL', 'replay', '2026-03-03T{}Z')"
    with connect(marts_settings, role="owner") as conn:
        for clock, changes in (("09:00", False), ("23:55", True)):
            conn.execute(f"delete from ops.sessions; truncate marts.candles_5m; {candle.format(clock)}")
            sync_sessions(conn, "XNYS", week)
            assert (recall(conn, "days") is not None) == changes, clock


def test_who_trades_coins_alone_asks_no_exchange(marts_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("include.transform.sessions.sync_sessions", pytest.fail)
    with connect(marts_settings) as conn:
        accept(conn, [minute("2026-03-02 10:00", 1, "BTC-USD")])
        build(marts_settings)
        assert days(conn, "BTC-USD") == ["2026-03-02 00:00 1 1-1 1 x1"]


def test_a_session_of_every_instrument_begins_and_ends_with_a_candle_of_five_minutes() -> None:
    ever = Window(moment("2016-01-01 00:00"), moment("2027-01-01 00:00"))
    for calendar in set(CALENDARS.values()) - {ALWAYS}:
        ends = {end for _, session in dated_sessions(calendar, ever) for end in (session.start, session.end)}
        assert len(ends) > 5_000 and not [end for end in ends if end.timestamp() % timedelta(minutes=5).seconds]


def test_the_models_know_the_same_calendars_around_the_clock() -> None:
    variables = yaml.safe_load((ROOT / "dbt" / "dbt_project.yml").read_text())["vars"]
    assert variables["around_the_clock"] == list(AROUND_THE_CLOCK)
