"""`marts.candles_1m_filled`: open minutes without a candle carry the last close on, and say so."""

from __future__ import annotations

import psycopg

from include.settings import Settings
from tests.gaps.pictures import listed, search, traded

_ROWS = """
select to_char(candle_start at time zone 'UTC', 'DD HH24:MI'), open::float, high::float, low::float, close::float,
       volume::int, is_filled
from marts.candles_1m_filled where symbol = 'X' order by candle_start
"""


def test_a_gap_carries_the_last_close_on(conn: psycopg.Connection, marts_settings: Settings) -> None:
    traded(conn, "X", "10:00 .. 10:02", price=7)
    traded(conn, "X", "10:04 .. 10:05", price=9)
    search(marts_settings)
    assert conn.execute(_ROWS).fetchall() == [
        ("02 10:00", 7, 7, 7, 7, 1, False),
        ("02 10:01", 7, 7, 7, 7, 1, False),
        ("02 10:02", 7, 7, 7, 7, 0, True),
        ("02 10:03", 7, 7, 7, 7, 0, True),
        ("02 10:04", 9, 9, 9, 9, 1, False),
    ]
    assert conn.execute("select count(*) from marts.candles_1m").fetchone() == (3,)  # nothing was made up in a table


def test_closed_hours_are_not_filled(conn: psycopg.Connection, marts_settings: Settings) -> None:
    listed(conn, "X", "XNYS")
    traded(conn, "X", "2026-03-06 20:57 .. 2026-03-06 20:58", "2026-03-09 13:31 .. 2026-03-09 13:32")
    search(marts_settings)
    assert [row[0] for row in conn.execute(_ROWS)] == ["06 20:57", "06 20:58", "06 20:59", "09 13:30", "09 13:31"]
