"""Quarantine of what never became an event of the stream: parts of a vendor's answer, lines of a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

import psycopg

_INSERT: Final = """
insert into raw.rejected_events (origin, source, line_number, kind, symbol, event_time, reason, raw)
select %(origin)s, %(source)s, line_number, kind, symbol, event_time, reason, raw
from unnest(
    %(line_numbers)s::integer[], %(kinds)s::text[], %(symbols)s::text[], %(times)s::timestamptz[],
    %(reasons)s::text[], %(raws)s::bytea[]
) as bad (line_number, kind, symbol, event_time, reason, raw)
"""


class RejectedRow(Protocol):
    """What is known of a rejected row (`include.sources.base.Rejected` is one)."""

    @property
    def line_number(self) -> int: ...
    @property
    def reason(self) -> str: ...
    @property
    def raw(self) -> bytes: ...
    @property
    def kind(self) -> str | None: ...
    @property
    def symbol(self) -> str | None: ...
    @property
    def event_time(self) -> datetime | None: ...


def quarantine(conn: psycopg.Connection, origin: str, source: str, rows: Sequence[RejectedRow]) -> int:
    """Write rows to `raw.rejected_events` and return how many were new. Safe to repeat: the same row is kept once.

    A row whose line number is taken by another content (a vendor asked again answers otherwise) gets the next free one.
    """
    if not rows:
        return 0
    with conn.transaction():
        conn.execute("select pg_advisory_xact_lock(hashtextextended('quarantine ' || %s, 0))", [origin])
        new = list(_new(conn, origin, rows))
        parameters: dict[str, Any] = {
            "origin": origin,
            "source": source,
            "line_numbers": [number for number, _ in new],
            "kinds": [row.kind for _, row in new],
            "symbols": [row.symbol for _, row in new],
            "times": [row.event_time for _, row in new],
            "reasons": [row.reason.replace("\x00", "\\0") for _, row in new],
            "raws": [row.raw for _, row in new],
        }
        conn.execute(_INSERT, parameters)
    return len(new)


def _new(conn: psycopg.Connection, origin: str, rows: Sequence[RejectedRow]) -> Iterable[tuple[int, RejectedRow]]:
    taken: dict[int, bytes] = dict(
        conn.execute(
            "select line_number, raw from raw.rejected_events where origin = %s and line_number = any(%s)",
            [origin, [row.line_number for row in rows]],
        ).fetchall()
    )
    moved: list[RejectedRow] = []
    for row in rows:
        if row.line_number not in taken:
            taken[row.line_number] = row.raw
            yield row.line_number, row
        elif taken[row.line_number] != row.raw:
            moved.append(row)
    if not moved:
        return
    found = conn.execute(
        "select max(line_number), array_agg(raw) filter (where raw = any(%s)) from raw.rejected_events "
        "where origin = %s",
        [[row.raw for row in moved], origin],
    ).fetchone()
    highest, known = found or (None, None)
    free = max(highest or 0, *taken) + 1
    for row in moved:
        if row.raw not in (known or ()):
            yield free, row
            free += 1
