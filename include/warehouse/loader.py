"""Lines of a raw object -> rows: events into `raw.landed_events`, what is no event into `raw.rejected_events`.

A line never fails its batch. What the parser refuses, and what Postgres refuses after it, goes to quarantine with the
reason and the bytes as they came. Only some thousand lines are in memory at a time, however large the object.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Final

import orjson
import psycopg

from include.events import iso
from include.warehouse.lines import LONGEST_REASON, Reject, Row, parse, time_of

_CHUNK: Final = 10_000  # lines of one COPY
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
insert into ops.loads (origin, is_live, read_count) values (%s, %s, 0) on conflict (origin) do nothing returning load_id
"""
_COUNT: Final = """
update ops.loads set read_count = %s, quarantined_count = %s, complete_until = %s::jsonb where load_id = %s
"""
# What Postgres may say about one row's content; anything else is about the server and stops the load.
_REFUSED: Final = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.StatementTooComplex,
)


@dataclass(slots=True)
class Loaded:
    """What `store` did. `is_new` is False where this origin was loaded before: nothing was written then.

    The lines came from so many `records` of the stream (0 where they do not say), the last of which has the number
    `sequence_number` and arrived at `arrived_at`. `marks` is what they say about completeness, `(source, complete
    until) -> arrived at`; the last that says so counts, and None is for lines without a time of arrival. All times are
    UTC.
    """

    load_id: int
    events: int = 0
    quarantined: int = 0
    is_new: bool = True
    records: int = 0
    sequence_number: str | None = None
    arrived_at: datetime | None = None
    marks: dict[tuple[str, datetime], datetime | None] = field(default_factory=dict)

    @property
    def lines(self) -> int:
        return self.events + self.quarantined


def store(conn: psycopg.Connection, lines: Iterable[tuple[int, bytes]], *, origin: str, is_live: bool) -> Loaded:
    """Write the rows, the quarantine and the ledger's row of one object, as part of the caller's transaction.

    `lines` are `(line number, line)`. An origin that is in the ledger already is left as it is (`is_new` False). A row
    that Postgres refuses is found by halving the batch and goes to quarantine. `complete_until` of the load is, per
    source, the latest one of its events.
    """
    found = conn.execute(_LOAD, [origin, is_live]).fetchone()
    if found is None:
        before = conn.execute(
            "select load_id, read_count - quarantined_count, quarantined_count from ops.loads where origin = %s",
            [origin],
        ).fetchone()
        assert before is not None  # noqa: S101  # the conflict has just shown it
        return Loaded(before[0], before[1], before[2], is_new=False)
    loaded = Loaded(found[0])
    lines = iter(lines)
    while chunk := list(islice(lines, _CHUNK)):
        rejects = _load(conn, chunk, loaded)
        _quarantine(conn, origin, loaded.load_id, rejects)
        loaded.quarantined += len(rejects)
        loaded.events += len(chunk) - len(rejects)
    until: dict[str, datetime] = {}
    for source, time in loaded.marks:
        until[source] = max(time, until.get(source, time))
    said = orjson.dumps({source: iso(time) for source, time in until.items()}).decode()
    conn.execute(_COUNT, [loaded.lines, loaded.quarantined, said, loaded.load_id])
    return loaded


def _load(conn: psycopg.Connection, chunk: Sequence[tuple[int, bytes]], loaded: Loaded) -> list[Reject]:
    """Load some lines, parsed while the server writes; returns those that are no events."""
    rows: list[Row] = []
    rejects: list[Reject] = []
    arrivals: dict[int, datetime | None] = {}

    def parsed() -> Iterator[Row]:
        for number, line in chunk:
            one, (sequence_number, arrived_at) = parse(number, line)
            if sequence_number != loaded.sequence_number:
                loaded.records += sequence_number is not None
                loaded.sequence_number, loaded.arrived_at = sequence_number, time_of(arrived_at)
            if isinstance(one, Reject):
                rejects.append(one)
                continue
            rows.append(one)
            if one.event.complete_until:
                arrivals[number] = loaded.arrived_at
            yield one

    rest = parsed()
    try:
        _copy(conn, loaded.load_id, rest)
    except _REFUSED:
        list(rest)  # what was not parsed when the server refused
        rejects += _halve(conn, loaded.load_id, rows)
    refused = {reject.line_number for reject in rejects}
    for row in rows:
        event = row.event
        if event.complete_until and row.line_number not in refused:
            loaded.marks[event.source, event.complete_until] = arrivals[row.line_number]
    return rejects


def _copy(conn: psycopg.Connection, load_id: int, rows: Iterable[Row]) -> None:
    with conn.transaction(), conn.cursor() as cursor, cursor.copy(_COPY) as copy:
        for number, _, event, payload, payload_hash in rows:
            copy.write_row((
                load_id, number, event.source, event.kind, event.symbol, event.event_time, event.vendor_id,
                payload_hash, payload, event.received_at,
            ))  # fmt: skip


def _halve(conn: psycopg.Connection, load_id: int, rows: Sequence[Row]) -> list[Reject]:
    """COPY rows of which the server refuses some; returns those, found by halving."""
    try:
        _copy(conn, load_id, rows)
    except _REFUSED as error:
        if len(rows) > 1:
            middle = len(rows) // 2
            return _halve(conn, load_id, rows[:middle]) + _halve(conn, load_id, rows[middle:])
        row, event = rows[0], rows[0].event
        reason = f"refused by the warehouse: {error.diag.message_primary or error}"[:LONGEST_REASON]
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
