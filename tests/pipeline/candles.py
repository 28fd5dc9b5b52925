"""Rows of `marts.indicators_1m` as a picture, put there directly: detection is shown without dbt before it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import psycopg

from include.settings import Settings
from include.warehouse.db import connect

T0 = datetime(2026, 1, 2, 9, 0, tzinfo=UTC)


def minute(number: int) -> datetime:
    return T0 + timedelta(minutes=number)


def put_candles(
    conn: psycopg.Connection, symbol: str, zscores: Sequence[float | None], *, first: int = 0, final: int | None = None
) -> None:
    """One candle a minute from minute `first` on; those from minute `final` on are not final yet."""
    conn.cursor().executemany(
        """
        insert into marts.indicators_1m (symbol, candle_start, source, close, zscore, is_final)
        values (%s, %s, 'simulator', 100, %s, %s)
        on conflict (symbol, candle_start) do update set zscore = excluded.zscore, is_final = excluded.is_final
        """,
        [(symbol, minute(first + n), zscore, final is None or first + n < final) for n, zscore in enumerate(zscores)],
    )


def queue(conn: psycopg.Connection, symbol: str, from_minute: int) -> None:
    """As the transform does it."""
    conn.execute(
        """
        insert into ops.detect_queue as q (symbol, from_candle) values (%s, %s)
        on conflict (symbol) do update
        set from_candle = least(q.from_candle, excluded.from_candle), version = q.version + 1
        """,
        [symbol, minute(from_minute)],
    )


def queued(settings: Settings) -> dict[str, int]:
    """Symbol to the minute from which it is queued."""
    with connect(settings) as conn:
        rows = conn.execute("select symbol, from_candle from ops.detect_queue order by symbol").fetchall()
    return {symbol: int((from_candle - T0).total_seconds() // 60) for symbol, from_candle in rows}


def alerts(settings: Settings) -> list[str]:
    """All market alerts as `AAPL 09:03 zscore up`, in the order of the outbox."""
    with connect(settings) as conn:
        rows = conn.execute(
            "select symbol, candle_start, rule, direction from marts.alerts join ops.outbox using (alert_key) "
            "where category = 'market' order by outbox_id"
        ).fetchall()
    return [f"{symbol} {candle_start:%H:%M} {rule} {direction}" for symbol, candle_start, rule, direction in rows]
