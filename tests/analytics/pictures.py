"""Putting candles straight into the marts, and asking them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

import psycopg

from tests.transform.marts import make_room

_DAY = """
insert into marts.candles_1d
    (symbol, source, candle_start, session_date, open, high, low, close, volume, basis, is_final)
values (%(symbol)s, %(source)s, %(day)s::timestamp at time zone 'UTC' + make_interval(hours => %(hour)s), %(day)s,
        %(open)s, greatest(%(open)s, %(close)s), least(%(open)s, %(close)s), %(close)s, %(volume)s, 'bar', %(final)s)
"""
_MINUTE = """
insert into marts.candles_1m (symbol, source, candle_start, open, high, low, close, volume, basis, is_final)
values (%(symbol)s, %(source)s, %(start)s, %(close)s, %(close)s, %(close)s, %(close)s, %(volume)s, 'bar', %(final)s)
"""


def day_candles(conn: psycopg.Connection, symbol: str, closes: Iterable[tuple[date, float]], **fields: Any) -> None:
    """Candles of a day, by default of simulator, final, opened at 14:00 at their close, with a volume of 10."""
    values = {"source": "simulator", "volume": 10, "final": True, "hour": 14} | fields
    conn.cursor().executemany(
        _DAY, [{"symbol": symbol, "day": day, "close": close, "open": close} | values for day, close in closes]
    )


def minute_candles(
    conn: psycopg.Connection, symbol: str, closes: Iterable[tuple[datetime, float]], **fields: Any
) -> None:
    """Candles of a minute, by default of simulator, final, all prices the same, with a volume of 10."""
    values = {"source": "simulator", "volume": 10, "final": True} | fields
    rows = [{"symbol": symbol, "start": start, "close": close} | values for start, close in closes]
    make_room(conn, "candles_1m", (row["start"] for row in rows))
    conn.cursor().executemany(_MINUTE, rows)


def newest(conn: psycopg.Connection, symbol: str, closes: Iterable[tuple[datetime, float]], previous: float) -> None:
    """Rows of the one series of an instrument, as the indicators keep it."""
    conn.cursor().executemany(
        "insert into marts.indicators_1m (symbol, candle_start, source, is_fallback, close, is_final, previous_close, "
        "change_percent) values (%s, %s, 'simulator', false, %s, true, %s, %s)",
        [(symbol, start, close, previous, (close / previous - 1) * 100) for start, close in closes],
    )


def asked(conn: psycopg.Connection, query: str) -> list[tuple[Any, ...]]:
    return conn.execute(query.encode()).fetchall()
