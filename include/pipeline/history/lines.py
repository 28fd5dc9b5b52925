"""Events to the lines of a raw object: the same as `Event.to_json`, for many events at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import orjson

from include.events import Event, iso


def encode(events: Sequence[Event], *, is_whole: bool = True) -> bytes:
    """One line of JSON for each event, with its line end.

    What the events say about completeness stays on the last one alone: it holds when all of them are there. Of the
    first part of an answer (`is_whole` is false) none says it.
    """
    heads: dict[tuple[str, str, str], bytes] = {}
    stamps: dict[datetime, bytes] = {}
    parts: list[bytes] = []
    last = len(events) - 1 if is_whole else None
    for place, event in enumerate(events):
        if place == last:
            parts.append(event.to_json() + b"\n")
            break
        name = (event.source, event.kind, event.symbol)
        if (head := heads.get(name)) is None:
            head = heads[name] = _head(*name)
        if (received_at := stamps.get(event.received_at)) is None:
            received_at = stamps[event.received_at] = iso(event.received_at).encode()
        vendor_id = orjson.dumps(event.vendor_id) if event.vendor_id else b'""'
        parts.append(
            b'%s%s","vendor_id":%s,"received_at":"%s","complete_until":null,"payload":%s}\n'
            % (head, _text(event.event_time), vendor_id, received_at, orjson.dumps(event.payload))
        )
    return b"".join(parts)


def _head(source: str, kind: str, symbol: str) -> bytes:
    return orjson.dumps({"source": source, "kind": kind, "symbol": symbol})[:-1] + b',"event_time":"'


def _text(at: datetime) -> bytes:
    """`iso`, without asking what is known of nearly all of them: that they are in UTC."""
    return (at.isoformat(timespec="microseconds")[:-6] + "Z" if at.tzinfo is UTC else iso(at)).encode()
