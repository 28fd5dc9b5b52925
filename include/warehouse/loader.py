"""Lines of a raw object -> rows: events into `raw.landed_events`, what is no event into `raw.rejected_events`.

A line never fails its batch. What the parser refuses, and what Postgres refuses after it, goes to quarantine with the
reason and the bytes as they came. Numbers are 64-bit integers or IEEE doubles; a larger integer becomes a double.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import psycopg

from include.events import BadEventError, Event, iso, parse_event

_STAMPED: Final = ("sequence_number", "arrived_at")  # what landing adds to an event
_UNREADABLE: Final = {"raw_base64", *_STAMPED}
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_KPL_MAGIC: Final = b"\xf3\x89\x9a\xc2"
_LONGEST_REASON: Final = 500

_COPY: Final = """
copy raw.landed_events
    (load_id, line_number, source, kind, symbol, event_time, vendor_id, payload_hash, payload, received_at)
from stdin
"""
_QUARANTINE: Final = """
insert into raw.rejected_events (load_id, origin, line_number, source, kind, symbol, event_time, reason, raw)
select %s, %s, * from unnest(
    %s::integer[], %s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::text[], %s::bytea[])
on conflict (origin, line_number) do nothing
"""
_LOAD: Final = """
insert into ops.loads (origin, is_live, read_count, quarantined_count, complete_until)
values (%s, %s, %s, 0, '{}') on conflict (origin) do nothing returning load_id
"""
# What Postgres may say about one row's content; anything else is about the server and stops the load.
_REFUSED: Final = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.StatementTooComplex,
)


@dataclass(frozen=True, slots=True)
class Row:
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


@dataclass(slots=True)
class Parsed:
    """The lines of one object, `read_count` of them. `arrived_at` is the last line's, in UTC, if it has one."""

    rows: list[Row] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    arrived_at: datetime | None = None

    @property
    def read_count(self) -> int:
        return len(self.rows) + len(self.rejects)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What `store` did. `is_new` is False where this origin was loaded before: nothing was written then."""

    load_id: int
    events: int
    quarantined: int
    is_new: bool = True


def parse(lines: Iterable[tuple[int, bytes]]) -> Parsed:
    """Read `(line number, line)` pairs: an event or a reject for each of them, whatever it holds."""
    parsed = Parsed()
    stamp: Any = None
    for number, line in lines:
        fields: Any = None
        stamp = None
        try:
            fields = orjson.loads(line)
            if isinstance(fields, dict):
                stamp = fields.get("arrived_at")
            parsed.rows.append(_row(number, line, fields))
        except Exception as error:  # a poison line: whatever it breaks, it is one line
            parsed.rejects.append(_reject(number, line, fields, error))
    try:
        parsed.arrived_at = datetime.fromisoformat(stamp).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        parsed.arrived_at = None
    return parsed


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


def store(conn: psycopg.Connection, parsed: Parsed, *, origin: str, is_live: bool) -> Loaded:
    """Write the rows, the quarantine and the ledger's row of one object, as part of the caller's transaction.

    An origin that is in the ledger already is left as it is (`is_new` False). A row that Postgres refuses is found by
    halving the batch and goes to quarantine. `complete_until` of the load is, per source, the latest one of its events.
    """
    found = conn.execute(_LOAD, [origin, is_live, parsed.read_count]).fetchone()
    if found is None:
        before = conn.execute(
            "select load_id, read_count - quarantined_count, quarantined_count from ops.loads where origin = %s",
            [origin],
        ).fetchone()
        assert before is not None  # noqa: S101  # the conflict has just shown it
        return Loaded(before[0], before[1], before[2], is_new=False)
    load_id = found[0]
    refused = _copy(conn, load_id, parsed.rows)
    rejects = [*parsed.rejects, *refused]
    _quarantine(conn, origin, load_id, rejects)
    refused_lines = {reject.line_number for reject in refused}
    until: dict[str, datetime] = {}
    for row in parsed.rows:
        event = row.event
        if event.complete_until and row.line_number not in refused_lines:
            until[event.source] = max(event.complete_until, until.get(event.source, event.complete_until))
    conn.execute(
        "update ops.loads set quarantined_count = %s, complete_until = %s::jsonb where load_id = %s",
        [len(rejects), orjson.dumps({source: iso(time) for source, time in until.items()}).decode(), load_id],
    )
    return Loaded(load_id, len(parsed.rows) - len(refused), len(rejects))


def _row(number: int, line: bytes, fields: Any) -> Row:
    event = parse_event(fields)
    text = canonical(event.payload)
    return Row(number, line, event, text.decode(), payload_hash(text))


def _reject(number: int, line: bytes, fields: Any, error: Exception) -> Reject:
    raw, reason = line, str(error) if isinstance(error, BadEventError) else f"{type(error).__name__}: {error}"
    known: dict[str, Any] = {}
    if isinstance(fields, dict):
        if set(fields) == _UNREADABLE:
            try:
                raw = base64.b64decode(fields["raw_base64"], validate=True)
                reason = _why_unreadable(raw)
            except (TypeError, ValueError, binascii.Error):
                pass  # a vendor's own field of that name
        for name in ("source", "kind", "symbol"):
            value = fields.get(name)
            known[name] = value if isinstance(value, str) and len(value) <= 100 and "\x00" not in value else None
        try:
            when = datetime.fromisoformat(fields["event_time"])
            known["event_time"] = when.astimezone(UTC) if when.tzinfo else None
        except (KeyError, TypeError, ValueError, OverflowError):
            pass
    return Reject(number, reason.replace("\x00", "\\0")[:_LONGEST_REASON], raw, **known)


def _why_unreadable(raw: bytes) -> str:
    if raw.startswith(_KPL_MAGIC):
        return "a record aggregated by the Kinesis Producer Library; send each event as a record of its own"
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        return f"no JSON: {error}"
    return f"not a JSON object but {type(found).__name__}"


def _copy(conn: psycopg.Connection, load_id: int, rows: Sequence[Row]) -> list[Reject]:
    """COPY the rows; return those that Postgres refuses, found by halving."""
    if not rows:
        return []
    try:
        with conn.transaction(), conn.cursor() as cursor, cursor.copy(_COPY) as copy:
            for row in rows:
                event = row.event
                copy.write_row((
                    load_id, row.line_number, event.source, event.kind, event.symbol, event.event_time, event.vendor_id,
                    row.payload_hash, row.payload, event.received_at,
                ))  # fmt: skip
    except _REFUSED as error:
        if len(rows) > 1:
            middle = len(rows) // 2
            return _copy(conn, load_id, rows[:middle]) + _copy(conn, load_id, rows[middle:])
        row, event = rows[0], rows[0].event
        said = (error.diag.message_primary or str(error))[:_LONGEST_REASON]
        reason = f"refused by the warehouse: {said}"
        return [Reject(row.line_number, reason, row.line, event.source, event.kind, event.symbol, event.event_time)]
    return []


def _quarantine(conn: psycopg.Connection, origin: str, load_id: int, rejects: Sequence[Reject]) -> None:
    """A line that lies there already stays as it is."""
    if rejects:
        columns = zip(
            *(
                (one.line_number, one.source, one.kind, one.symbol, one.event_time, one.reason, one.raw)
                for one in rejects
            ),
            strict=True,
        )
        conn.execute(_QUARANTINE, [load_id, origin, *map(list, columns)])
