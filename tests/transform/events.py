"""Events put straight into the warehouse, as the audit leaves them: accepted loads, with their watermarks."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import orjson
import psycopg

from include.events import Event, iso
from include.warehouse import ledger
from include.warehouse.leases import lease

DAY = datetime(2026, 3, 2, tzinfo=UTC)


def at(clock: str, day: datetime = DAY) -> datetime:
    """`at("10:00:30")`: that time of the day, UTC."""
    hours, minutes, seconds = (*clock.split(":"), "0")[:3]
    whole, _, fraction = seconds.partition(".")
    return day.replace(
        hour=int(hours), minute=int(minutes), second=int(whole), microsecond=int(fraction.ljust(6, "0") or 0)
    )


def event(kind: str, symbol: str, time: datetime, payload: dict[str, Any], **fields: Any) -> Event:
    """One event; by default of `simulator` (quotes) or `replay`, received when it happened."""
    source = fields.pop("source", "simulator" if kind == "quote" else "replay")
    received_at = fields.pop("received_at", time)
    return Event(source, kind, symbol, time, fields.pop("vendor_id", ""), payload, received_at, **fields)  # type: ignore[arg-type]


def quote(symbol: str, clock: str, price: Any, **fields: Any) -> Event:
    names = ("bid", "ask", "previous_close", "day_volume")
    payload = {"price": price} | {name: fields.pop(name) for name in names if name in fields}
    return event("quote", symbol, at(clock), payload, **fields)


def trade(symbol: str, clock: str, price: Any, size: Any, vendor_id: str, **fields: Any) -> Event:
    payload = {"price": price, "size": size, "side": fields.pop("side", None)}
    return event("trade", symbol, at(clock), payload, vendor_id=vendor_id, **fields)


def bar(symbol: str, clock: str, prices: tuple[Any, Any, Any, Any], volume: Any, **fields: Any) -> Event:
    names = ("open", "high", "low", "close")
    payload = {"resolution": fields.pop("resolution", "1m"), **dict(zip(names, prices, strict=True)), "volume": volume}
    return event("bar", symbol, at(clock), payload, **fields)


def close(source: str, clock: str, price: Any, **fields: Any) -> Event:
    """A bar of one minute of AAPL as one of the vendors sends it, all its prices the same."""
    names = {
        "yahoo": ("open", "high", "low", "close", "volume"),
        "polygon": ("o", "h", "l", "c", "v"),
        "alphavantage": ("1. open", "2. high", "3. low", "4. close", "5. volume"),
    }[source]
    payload = dict(zip(names, (price, price, price, price, 1), strict=True))
    payload |= {"dataGranularity": "1m", "resolution": "1m"}
    if "session" in fields:
        payload["session"] = fields.pop("session")
    return event("bar", fields.pop("symbol", "AAPL"), at(clock), payload, source=source, **fields)


def accept(
    conn: psycopg.Connection,
    events: Iterable[Event],
    complete_until: dict[str, datetime] | None = None,
    *,
    is_live: bool = True,
) -> int:
    """One accepted load of these events, with the watermarks that come with it; the load's id."""
    rows = list(events)
    times = sorted(one.event_time for one in rows) or [None]
    watermarks = {source: iso(until) for source, until in (complete_until or {}).items()}
    with lease(conn, "audit", seconds=60) as held, conn.transaction():
        inserted = conn.execute(
            "insert into ops.loads (origin, is_live, read_count, complete_until, first_event_at, last_event_at) "
            "values (%s, %s, %s, %s::jsonb, %s, %s) returning load_id",
            [f"test/{uuid.uuid4()}", is_live, len(rows), orjson.dumps(watermarks).decode(), times[0], times[-1]],
        ).fetchone()
        load_id = int(inserted[0])  # type: ignore[index]
        with conn.cursor().copy(
            "copy raw.landed_events (load_id, line_number, source, kind, symbol, event_time, vendor_id, payload_hash, "
            "payload, received_at) from stdin"
        ) as copy:
            for line, one in enumerate(rows, start=1):
                payload = orjson.dumps(one.payload, option=orjson.OPT_SORT_KEYS)
                digest = hashlib.md5(payload, usedforsecurity=False).hexdigest()
                copy.write_row(
                    (load_id, line, one.source, one.kind, one.symbol, one.event_time, one.vendor_id, digest,
                     payload.decode(), one.received_at)
                )  # fmt: skip
        ledger.accept(conn, held, load_id)
    return load_id
