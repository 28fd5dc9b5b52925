"""A closed exchange misses nothing: nights, weekends, holidays, half days, breaks at noon, clock changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from include.calendars import FX, dated_sessions
from include.errors import ConfigError
from include.events import Window
from include.settings import Settings
from include.warehouse.db import connect
from include.warehouse.sessions import sync_sessions
from tests.gaps.pictures import fetched, gaps, listed, search, traded

ONE_DAY = timedelta(days=1)


def days(first: str, last: str) -> Window:
    return Window(datetime.fromisoformat(first).replace(tzinfo=UTC), datetime.fromisoformat(last).replace(tzinfo=UTC))


def shown(calendar: str, window: Window) -> list[str]:
    return [f"{day} {one.start:%d %H:%M}-{one.end:%d %H:%M}" for day, one in dated_sessions(calendar, window)]


@pytest.mark.parametrize(
    ("calendar", "missed", "expected"),
    [
        pytest.param(
            "XNYS", ("2026-03-06 20:30", "2026-03-09 13:50"),
            ["X 2026-03-06 20:30-21:00 outage", "X 2026-03-09 13:30-13:50 outage"],
            id="over a weekend on which the clocks go forward",
        ),
        pytest.param(
            "XNYS", ("2026-10-30 19:30", "2026-11-02 14:50"),
            ["X 2026-10-30 19:30-20:00 outage", "X 2026-11-02 14:30-14:50 outage"],
            id="over a weekend on which the clocks go back",
        ),
        pytest.param(
            "XNYS", ("2026-11-27 17:30", "2026-11-30 14:30"), ["X 2026-11-27 17:30-18:00 outage"], id="a half day"
        ),
        pytest.param("XNYS", ("2026-07-02 20:00", "2026-07-06 13:30"), [], id="a holiday and a weekend"),
        pytest.param(
            "XHKG", ("2026-03-03 03:40", "2026-03-03 05:10"),
            ["X 2026-03-03 03:40-04:00 outage", "X 2026-03-03 05:00-05:10 outage"],
            id="a lunch break is no part of it",
        ),
        pytest.param("XHKG", ("2026-03-03 03:55", "2026-03-03 05:08"), [], id="13 minutes around a lunch break"),
        pytest.param("FX", ("2026-03-06 22:00", "2026-03-08 21:00"), [], id="currencies at the weekend"),
        pytest.param(
            "FX", ("2026-03-06 21:40", "2026-03-08 21:00"), ["X 2026-03-06 21:40-22:00 outage"],
            id="currencies before the weekend",
        ),
    ],
)  # fmt: skip
def test_only_open_minutes_are_missing(
    conn: psycopg.Connection, marts_settings: Settings, calendar: str, missed: tuple[str, str], expected: list[str]
) -> None:
    around = days(missed[0], missed[1])
    first, last = (f"{moment:%Y-%m-%d %H:%M}" for moment in (around.start - ONE_DAY, around.end + ONE_DAY))
    listed(conn, "X", calendar)
    traded(conn, "X", f"{first} .. {missed[0]}", f"{missed[1]} .. {last}")  # at night too, which changes nothing
    fetched(conn, "X", f"{first} .. {last}")
    search(marts_settings, now=around.end + timedelta(days=2))
    assert gaps(conn) == expected


def test_what_never_closes_has_days_in_utc() -> None:
    assert shown("24/7", days("2026-03-01 12:00", "2026-03-02 00:01")) == [
        "2026-03-01 01 00:00-02 00:00",
        "2026-03-02 02 00:00-03 00:00",
    ]


def test_a_session_has_the_date_of_the_exchange() -> None:
    assert shown("XASX", days("2026-03-02 12:00", "2026-03-03 12:00")) == ["2026-03-03 02 23:00-03 05:00"]
    assert shown(FX, days("2026-03-01 12:00", "2026-03-02 12:00")) == ["2026-03-02 01 22:00-02 22:00"]


def test_nobody_trades_currencies_at_christmas() -> None:
    assert shown(FX, days("2025-12-24 12:00", "2025-12-26 12:00")) == [
        "2025-12-24 23 22:00-24 22:00",
        "2025-12-26 25 22:00-26 22:00",
    ]


def test_sessions_are_brought_in_once_and_mended(settings: Settings) -> None:
    week = days("2026-03-02 00:00", "2026-03-07 00:00")
    with connect(settings) as conn:
        changed = sync_sessions(conn, "XNYS", week)
        assert changed == days("2026-03-02 14:30", "2026-03-06 21:00")
        assert sync_sessions(conn, "XNYS", week) is None
        conn.execute(
            "update ops.sessions set closes_at = closes_at - interval '1 hour' where session_date = '2026-03-04'"
        )
        assert sync_sessions(conn, "XNYS", week) == days("2026-03-04 14:30", "2026-03-04 21:00")
        assert conn.execute("select count(*) from ops.sessions").fetchone() == (5,)


def test_a_calendar_that_does_not_exist_is_named(conn: psycopg.Connection, marts_settings: Settings) -> None:
    listed(conn, "X", "XNOW")
    traded(conn, "X", "10:00 .. 11:00")
    with pytest.raises(ConfigError, match="no exchange calendar 'XNOW'"):
        search(marts_settings)
