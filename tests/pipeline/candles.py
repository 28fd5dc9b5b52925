"""Rows of `marts.indicators_1m` as a picture, put there directly: detection is shown without dbt before it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from include.settings import Settings
from include.warehouse.db import connect
from tests.transform.marts import make_room

T0 = datetime(2026, 1, 2, 9, 0, tzinfo=UTC)


RULES = """
rules:
  zscore: {threshold: 3, cooldown_minutes: 1}
  source_divergence: {cooldown_minutes: 1}
  missing_data: {enabled: false}
"""


def excursions(settings: Settings, folder: Path) -> Settings:
    """Rules for which a candle inside the band ends an alert, so that a few candles show one."""
    file = folder / "detection.yml"
    file.write_text(RULES)
    return settings.model_copy(update={"detection_file": file})


def minute(number: int) -> datetime:
    return T0 + timedelta(minutes=number)


def put_candles(
    conn: psycopg.Connection, symbol: str, zscores: Sequence[float | None], *, first: int = 0, final: int | None = None
) -> None:
    """One candle a minute from minute `first` on; those from minute `final` on are not final yet."""
    make_room(conn, "indicators_1m", (minute(first + n) for n in range(len(zscores))))
    conn.cursor().executemany(
        """
        insert into marts.indicators_1m (symbol, candle_start, source, close, zscore, is_final)
        values (%s, %s, 'simulator', 100, %s, %s)
        on conflict (symbol, candle_start) do update set zscore = excluded.zscore, is_final = excluded.is_final
        """,
        [(symbol, minute(first + n), zscore, final is None or first + n < final) for n, zscore in enumerate(zscores)],
    )


def queue(
    conn: psycopg.Connection, symbol: str, from_minute: int, until_minute: int | None = None, lane: str = "live"
) -> None:
    """As the transform does it."""
    conn.execute(
        """
        insert into ops.detect_queue as q (symbol, lane, spans)
        values (%s, %s, tstzmultirange(tstzrange(%s, %s)))
        on conflict (symbol, lane) do update set spans = q.spans + excluded.spans, version = q.version + 1
        """,
        [symbol, lane, minute(from_minute), None if until_minute is None else minute(until_minute)],
    )


def put_closes(conn: psycopg.Connection, source: str, basis_points: Sequence[float | None], *, first: int = 0) -> None:
    """One of four compared closes of AAPL a minute from minute `first` on; None: the source was not compared then."""
    conn.cursor().executemany(
        """
        insert into marts.source_divergence as d (
            symbol, candle_start, source, close, reference, divergence_basis_points, source_count, is_flagged
        )
        values ('AAPL', %s, %s, 100, 100, %s, 4, false)
        on conflict (symbol, candle_start, source) do update
        set divergence_basis_points = excluded.divergence_basis_points
        """,
        [(minute(first + n), source, apart) for n, apart in enumerate(basis_points) if apart is not None],
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


def written(settings: Settings) -> list[tuple[str, float, str]]:
    """All market alerts, sent or not, as `AAPL 09:03 zscore up`, their value and their state, by candle."""
    with connect(settings) as conn:
        rows = conn.execute(
            "select symbol, candle_start, rule, direction, value, state from marts.alerts where category = 'market' "
            "order by candle_start, symbol, rule, alert_key"
        ).fetchall()
    return [
        (f"{symbol} {candle_start:%H:%M} {rule} {direction}", value, state)
        for symbol, candle_start, rule, direction, value, state in rows
    ]
