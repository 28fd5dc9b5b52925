"""Loads for tests, as the load step leaves them: rows in raw.landed_events and a row in ops.loads."""

from __future__ import annotations

import hashlib
import itertools
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
import psycopg

from include.events import Event, Kind, iso

_numbers = itertools.count(1)


def event(
    kind: Kind,
    symbol: str,
    payload: dict[str, Any],
    *,
    at: datetime,
    received_at: datetime | None = None,
    source: str = "simulator",
    vendor_id: str = "",
) -> Event:
    """An event received when it happened, unless told otherwise."""
    return Event(source, kind, symbol, at, vendor_id, payload, received_at or at)


def quote(symbol: str, price: object, *, at: datetime, **more: Any) -> Event:
    """A quote. What the envelope does not know goes into the payload: `quote("AAPL", 190, at=noon, bid=189)`."""
    envelope = {name: more.pop(name) for name in ("received_at", "source", "vendor_id") if name in more}
    return event("quote", symbol, {"price": price, **more}, at=at, **envelope)


def add_load(
    conn: psycopg.Connection,
    events: Sequence[Event],
    *,
    origin: str | None = None,
    is_live: bool = True,
    malformed: int = 0,
    read_count: int | None = None,
    complete_until: Mapping[str, datetime] | None = None,
    loaded_at: datetime | None = None,
) -> int:
    """Put a landed load into the warehouse and return its id. Lines are numbered from 1; `malformed` lines follow."""
    origin = origin or f"raw/{next(_numbers)}-{uuid.uuid4().hex[:8]}.jsonl.gz"
    until = {source: iso(time) for source, time in (complete_until or {}).items()}
    with conn.transaction():
        row = conn.execute(
            "insert into ops.loads (origin, is_live, read_count, quarantined_count, complete_until, loaded_at) "
            "values (%s, %s, %s, %s, %s::jsonb, coalesce(%s, clock_timestamp())) returning load_id",
            [
                origin,
                is_live,
                len(events) + malformed if read_count is None else read_count,
                malformed,
                orjson.dumps(until).decode(),
                loaded_at,
            ],
        ).fetchone()
        assert row is not None
        for number, one in enumerate(events, start=1):
            text = orjson.dumps(one.payload, option=orjson.OPT_SORT_KEYS)
            conn.execute(
                "insert into raw.landed_events (load_id, line_number, source, kind, symbol, event_time, vendor_id, "
                "payload_hash, payload, received_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s)",
                [
                    row[0], number, one.source, one.kind, one.symbol, one.event_time, one.vendor_id,
                    uuid.UUID(bytes=hashlib.md5(text, usedforsecurity=False).digest()), text.decode(), one.received_at,
                ],
            )  # fmt: skip
        for number in range(len(events) + 1, len(events) + malformed + 1):
            conn.execute(
                "insert into raw.rejected_events (load_id, origin, line_number, reason, raw) "
                "values (%s, %s, %s, 'not a JSON object', '')",
                [row[0], origin, number],
            )
    return int(row[0])
