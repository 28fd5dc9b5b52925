"""Lines of a raw object -> rows: events into `raw.landed_events`, what is no event into `raw.rejected_events`.

A line never fails its batch. What the parser refuses, and what Postgres refuses after it, goes to quarantine with the
reason and the bytes as they came. Only some thousand lines are in memory at a time, however large the object.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Final

import orjson
import psycopg

from include.events import iso
from include.warehouse.copy_rows import COLUMNS, Chunk
from include.warehouse.lines import LONGEST_REASON, Reject, Row, parse

_CHUNK: Final = 10_000  # lines of one COPY
_COPY: Final = f"copy raw.landed_events ({COLUMNS}) from stdin"
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
update ops.loads set
    read_count = %(read)s, quarantined_count = %(quarantined)s, complete_until = %(until)s::jsonb,
    first_event_at = span.first_at, last_event_at = span.last_at
from (
    select min(event_time) as first_at, max(event_time) as last_at from raw.landed_events where load_id = %(load_id)s
) as span
where load_id = %(load_id)s
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
    source, the latest one of its events; `first_event_at` and `last_event_at` are NULL where there is none.
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
    conn.execute(
        _COUNT,
        {"read": loaded.lines, "quarantined": loaded.quarantined, "until": said, "load_id": loaded.load_id},
    )
    return loaded


def _load(conn: psycopg.Connection, lines: Sequence[tuple[int, bytes]], loaded: Loaded) -> list[Reject]:
    """Load some lines, encoded while the server writes; returns those that are no events."""
    chunk = Chunk(lines, loaded.load_id, loaded.sequence_number, loaded.arrived_at)
    pieces = chunk.pieces()
    try:
        _copy(conn, pieces)
    except _REFUSED:
        for _ in pieces:  # what was not encoded when the server refused
            pass
        chunk.rejects += _halve(conn, chunk, 0, len(chunk.rows))
    loaded.records += chunk.records
    loaded.sequence_number, loaded.arrived_at = chunk.sequence_number, chunk.arrived_at
    refused = {reject.line_number for reject in chunk.rejects}
    for line_number, source, until, arrived_at in chunk.said:
        if line_number not in refused:
            loaded.marks[source, until] = arrived_at
    return chunk.rejects


def _copy(conn: psycopg.Connection, pieces: Iterable[str]) -> None:
    with conn.transaction(), conn.cursor() as cursor, cursor.copy(_COPY) as copy:
        for piece in pieces:
            copy.write(piece)


def _halve(conn: psycopg.Connection, chunk: Chunk, start: int, end: int) -> list[Reject]:
    """COPY rows of which the server refuses some; returns those, found by halving."""
    try:
        _copy(conn, chunk.rows[start:end])
    except _REFUSED as error:
        if end - start > 1:
            middle = (start + end) // 2
            return _halve(conn, chunk, start, middle) + _halve(conn, chunk, middle, end)
        number, line = chunk.lines[chunk.places[start]]
        row, _ = parse(number, line)
        assert isinstance(row, Row)  # noqa: S101  # it was encoded
        reason = f"refused by the warehouse: {error.diag.message_primary or error}"[:LONGEST_REASON]
        event = row.event
        return [Reject(number, reason, line, event.source, event.kind, event.symbol, event.event_time)]
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
