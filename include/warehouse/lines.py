"""One line of a raw object: an event ready for the warehouse, or the reason why it is none.

Numbers are 64-bit integers or IEEE doubles; a larger integer becomes a double.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import io
import re
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import orjson

from include.events import BadEventError, Event, parse_event

LONGEST_REASON: Final = 500
_STAMPED: Final = {"sequence_number", "sub_sequence", "arrived_at"}  # what landing writes beside an event
_UNREADABLE: Final = "raw_base64"  # ... and instead of one
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_KPL_MAGIC: Final = b"\xf3\x89\x9a\xc2"
_GZIP_MAGIC: Final = b"\x1f\x8b"


class Row(NamedTuple):
    """An event of a line, ready for COPY: `payload` is canonical JSON, `payload_hash` the hex of its MD5."""

    line_number: int
    line: bytes
    event: Event
    payload: str
    payload_hash: str


@dataclass(frozen=True, slots=True)
class Reject:
    """A line that goes to quarantine: why, its bytes, and what of its envelope was readable."""

    line_number: int
    reason: str
    raw: bytes
    source: str | None = None
    kind: str | None = None
    symbol: str | None = None
    event_time: datetime | None = None


class Stamp(NamedTuple):
    """What landing wrote beside an event, if it did: the number of its record, and when that arrived, as a text."""

    sequence_number: str | None = None
    arrived_at: str | None = None


_NO_STAMP: Final = Stamp()


def parse(number: int, line: bytes) -> tuple[Row | Reject, Stamp]:
    """An event or a reject, whatever the line holds."""
    fields: Any = None
    stamp = _NO_STAMP
    try:
        fields = orjson.loads(line)
        if isinstance(fields, dict):
            stamp = Stamp(fields.get("sequence_number"), fields.get("arrived_at"))
        event = parse_event(fields)
        text = canonical(event.payload)
        return Row(number, line, event, text.decode(), payload_hash(text)), stamp
    except Exception as error:  # a poison line: whatever it breaks, it is one line
        return _reject(number, line, fields, error), stamp


def canonical(payload: dict[str, Any]) -> bytes:
    """The payload's canonical JSON: keys sorted, no white space. Equal payloads are equal bytes.

    Raises BadEventError where Postgres' jsonb could not hold it.
    """
    try:
        text = orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:  # orjson's JSONEncodeError: nested too deeply
        raise BadEventError(f"payload cannot be written as JSON: {error}") from None
    if b"\\u0000" in text and _NUL.search(text):
        raise BadEventError("payload holds a NUL character; Postgres cannot store it")
    return text


def payload_hash(text: bytes) -> str:
    """32 hex digits from canonical JSON: the identity of a payload among equal natural keys."""
    return hashlib.md5(text, usedforsecurity=False).hexdigest()


def time_of(value: Any) -> datetime | None:
    """The time that a text says, in UTC; None if it says none."""
    try:
        time = datetime.fromisoformat(value)
        return time.astimezone(UTC) if time.tzinfo else None
    except (TypeError, ValueError, OverflowError):
        return None


def _reject(number: int, line: bytes, fields: Any, error: Exception) -> Reject:
    raw, reason = line, str(error) if isinstance(error, BadEventError) else f"{type(error).__name__}: {error}"
    known: dict[str, Any] = {}
    if isinstance(fields, dict):
        if _UNREADABLE in fields and set(fields) - _STAMPED == {_UNREADABLE}:
            try:
                raw = base64.b64decode(fields[_UNREADABLE], validate=True)
                reason = _why_unreadable(raw)
            except (TypeError, ValueError, binascii.Error):
                pass  # a vendor's own field of that name
        for name in ("source", "kind", "symbol"):
            value = fields.get(name)
            known[name] = value if isinstance(value, str) and len(value) <= 100 and "\x00" not in value else None
        known["event_time"] = time_of(fields.get("event_time"))
    return Reject(number, reason.replace("\x00", "\\0")[:LONGEST_REASON], raw, **known)


def _why_unreadable(raw: bytes) -> str:
    if raw.startswith(_KPL_MAGIC):
        return "a record aggregated by the Kinesis Producer Library; send each event as a record of its own"
    if raw.startswith(_GZIP_MAGIC):
        return f"an aggregated record that cannot be taken apart: {_why_not_whole(raw)}"
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        return f"no JSON: {error}"
    return f"not a JSON object but {type(found).__name__}"


def _why_not_whole(raw: bytes) -> str:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as unpacked:
            header = unpacked.readline(100)
            while unpacked.read(1024 * 1024):
                pass
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        return str(error)
    return f"its lines are not those that its header {header!r} counts"
