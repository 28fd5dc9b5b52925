"""Minutes put straight into the warehouse, as transforms leave them, and gaps as lines of text."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg.types.json import Jsonb

from include.pipeline.gaps import GapsReport, find_gaps
from include.settings import Settings

DAY = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
NIGHT_AFTER = DAY + timedelta(days=1, hours=5)

_LOAD = """
insert into ops.loads (
    origin, is_live, state, read_count, inserted_count, duplicate_count, first_event_at, last_event_at, transformed_at)
values (%s, true, 'transformed', 0, 0, 0, %s, %s, now()) returning load_id
"""
_EVENTS = """
insert into raw.market_events (
    source, kind, symbol, event_time, payload_hash, payload, received_at, load_id)
select %(source)s, 'bar', %(symbol)s, at, gen_random_uuid(), '{}', at, %(load)s
from generate_series(%(start)s, %(end)s - interval '1 minute', interval '1 minute') as at
"""
_CANDLES = """
insert into marts.candles_1m (symbol, source, candle_start, open, high, low, close, volume, basis, is_final)
select %(symbol)s, %(source)s, at, %(price)s, %(price)s, %(price)s, %(price)s, 1, %(basis)s, true
from generate_series(%(start)s, %(end)s - interval '1 minute', interval '1 minute') as at
on conflict do nothing
"""
_INSTRUMENT = """
insert into ops.registered_instruments (symbol, asset_class, currency, calendar, primary_source)
values (%s, %s, 'USD', %s, 'simulator') on conflict do nothing
"""


def at(text: str) -> datetime:
    """`"10:00"` on the day, `"24:00"` its end, `"+1 10:00"` on the next one, `"2026-07-03 13:30"` in full; UTC."""
    if text.startswith(("+", "-")):
        days, _, clock = text.partition(" ")
        return at(clock) + timedelta(days=int(days))
    if len(text) > 5:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    hours, minutes = text.split(":")
    return DAY + timedelta(hours=int(hours), minutes=int(minutes))


def span(text: str) -> tuple[datetime, datetime]:
    """`"10:00 .. 10:40"`, the end exclusive."""
    start, _, end = text.partition(" .. ")
    return at(start), at(end)


def listed(conn: psycopg.Connection, symbol: str, calendar: str = "24/7") -> None:
    """An instrument with that calendar."""
    conn.execute(_INSTRUMENT, [symbol, "equity" if calendar.startswith("X") else "crypto", calendar])


def traded(
    conn: psycopg.Connection, symbol: str, *spans: str, source: str = "binance", basis: str = "bar", price: float = 1
) -> None:
    """Candles of every minute of the spans, in one transformed load."""
    listed(conn, symbol)
    whens = [span(one) for one in spans]
    origin, first, last = f"test/{uuid.uuid4()}", min(start for start, _ in whens), max(end for _, end in whens)
    load = conn.execute(_LOAD, [origin, first, last]).fetchone()
    for start, end in whens:
        fields = {
            "symbol": symbol, "source": source, "start": start, "end": end, "price": price, "basis": basis,
            "load": load and load[0],
        }  # fmt: skip
        conn.execute(_EVENTS, fields)
        conn.execute(_CANDLES, fields)


def fetched(conn: psycopg.Connection, symbol: str, *spans: str, source: str = "binance", ended: str = "events") -> None:
    """A backfill asked for these times."""
    for start, end in map(span, spans):
        conn.execute(
            "insert into ops.history_coverage (source, kind, symbol, asked_as, covered_from, covered_until, events, "
            "ended) values (%s, 'bar', %s, %s, %s, %s, 1, %s)",
            [source, symbol, symbol, start, end, ended],
        )


def polled(
    conn: psycopg.Connection, *spans: str, ok: bool = True, missing: Sequence[str] = (), source: str = "binance"
) -> None:
    """A pull of every minute of the spans."""
    for start, end in map(span, spans):
        conn.execute(
            "insert into ops.outcomes (step, source, window_start, window_end, ok, detail) "
            "select 'pull', %s, at, at + interval '1 minute', %s, %s "
            "from generate_series(%s, %s - interval '1 minute', interval '1 minute') as at",
            [source, ok, Jsonb({"missing": list(missing)}), start, end],
        )


def complete(conn: psycopg.Connection, until: str, source: str = "binance") -> None:
    """The source's watermark, as the last transform saw it."""
    conn.execute(
        "insert into ops.transform_watermarks values (%s, %s) "
        "on conflict (source) do update set complete_until = excluded.complete_until",
        [source, at(until)],
    )


def search(settings: Settings, now: datetime = NIGHT_AFTER) -> GapsReport:
    return find_gaps(settings, now=now)


def gaps(conn: psycopg.Connection) -> list[str]:
    """`X 10:00-10:40 outage`, by symbol and time; another day than DAY is written out."""
    rows = conn.execute(
        "select symbol, gap_start, gap_end, minutes, reason from marts.gaps order by symbol, source, gap_start"
    ).fetchall()
    for symbol, start, end, minutes, _ in rows:
        assert end - start == timedelta(minutes=minutes), f"{symbol} {start}: {minutes} minutes"
    return [f"{symbol} {_clock(start)}-{end:%H:%M} {reason}" for symbol, start, end, _, reason in rows]


def alerts(conn: psycopg.Connection) -> list[str]:
    rows = conn.execute("select message from marts.alerts where rule = 'gap' order by candle_start, message")
    return [message for (message,) in rows]


def lines(texts: Iterable[str]) -> str:
    return "\n".join(texts)


def _clock(moment: datetime) -> str:
    return f"{moment:%H:%M}" if moment.date() == DAY.date() else f"{moment:%Y-%m-%d %H:%M}"
