"""What the tests of the exchanges share: instruments, a local vendor's answers, and one batch of all that came."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from include.events import Event, Kind, Window
from include.instruments import Instrument
from include.sources.base import Batch, Source
from tests.faults.proxy import Answer, FaultProxy
from tests.sources.asked import whole

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
MINUTE = Window(NOON - timedelta(minutes=1), NOON)
HOUR = Window(NOON - timedelta(hours=1), NOON)
DATE = {"Date": "Sat, 14 Mar 2026 12:00:07 GMT"}


def instrument(symbol: str, **ids: str) -> Instrument:
    return Instrument(symbol, "crypto", "USD", "24/7", next(iter(ids)), ids)


def said(body: Any, status: int = 200, **headers: str) -> Answer:
    """A JSON answer; header names are written with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, json.dumps(body).encode(), {"Content-Type": "application/json", **named})


def clock(event: Event) -> str:
    """`11:58:00`, with the fraction if there is one."""
    return event.event_time.time().isoformat()


def fetched(
    source: Source[Any, Any], *instruments: Instrument, window: Window = MINUTE, kind: Kind | None = None
) -> Batch:
    return whole(source.fetch(window, instruments, kind))


def asked(vendor: FaultProxy) -> list[str]:
    """The calls that came, in order."""
    return [seen.request.path for seen in vendor.seen]


def at(seconds: float) -> datetime:
    """So many seconds after 11:59."""
    return MINUTE.start + timedelta(seconds=seconds)


def ms(seconds: float) -> int:
    """The same in milliseconds since 1970."""
    return round(at(seconds).timestamp() * 1000)
