"""The ledger of history: what of the past is covered, and the raw objects that hold it.

A piece is written down before its object is put (`intend`), then it is landed together with what it covers (`landed`),
then loaded and judged (`settle`). Every write of a piece is fenced by the lease it is given.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, Literal

import orjson
import psycopg

from include.events import Kind, Window
from include.warehouse.leases import Lease

Ended = Literal["events", "empty", "refused"]

# Covered is what was asked for under the same conditions: a refusal counts for a day and for the id it was about, and
# with a run only what that run has asked for.
_MISSING: Final = """
select w.symbol, lower(m.span), upper(m.span)
from unnest(%(symbols)s::text[], %(ids)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
    with ordinality as w (symbol, asked_as, starts_at, ends_at, place)
cross join lateral (
    select tstzmultirange(tstzrange(w.starts_at, w.ends_at))
        - coalesce(range_agg(tstzrange(c.covered_from, c.covered_until)), '{}'::tstzmultirange) as spans
    from ops.history_coverage as c
    where c.source = %(source)s and c.kind = %(kind)s and c.symbol = w.symbol
        and c.covered_from < w.ends_at and c.covered_until > w.starts_at
        and (c.ended <> 'refused' or (
            c.asked_as = w.asked_as and c.fetched_at > clock_timestamp() - interval '1 day'))
        and (%(run_id)s::text is null or c.run_id = %(run_id)s)
) as found
cross join lateral unnest(found.spans) as m (span)
order by w.place, lower(m.span)
"""

_COVER: Final = """
with new as (
    select * from unnest(
        %(symbols)s::text[], %(ids)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[], %(events)s::bigint[],
        %(ended)s::text[], %(reasons)s::text[]
    ) as n (symbol, asked_as, covered_from, covered_until, events, ended, reason)
), older as (
    delete from ops.history_coverage as c using new as n
    where c.source = %(source)s and c.kind = %(kind)s and c.symbol = n.symbol
        and c.covered_from >= n.covered_from and c.covered_until <= n.covered_until
)
insert into ops.history_coverage
    (source, kind, symbol, asked_as, covered_from, covered_until, events, ended, reason, run_id)
select %(source)s, %(kind)s, symbol, asked_as, covered_from, covered_until, events, ended, reason, %(run_id)s from new
"""

_COLUMNS: Final = (
    "piece_id, source, kind, window_start, window_end, symbols, s3_key, event_count, first_event_at, last_event_at, "
    "covers, state, sha256, load_id, run_id"
)
_INTEND: Final = """
insert into ops.history_pieces (
    piece_id, source, kind, window_start, window_end, symbols, s3_key, event_count, first_event_at, last_event_at,
    covers, run_id)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s)
"""
_OPEN: Final = f"""
select {_COLUMNS} from ops.history_pieces
where source = %s and kind = %s and state in ('intended', 'landed') and window_start < %s and window_end > %s
order by created_at
"""  # noqa: S608
_REJECTED: Final = """
select l.load_id
from ops.history_pieces as p
inner join ops.loads as l on p.load_id = l.load_id
where p.source = %(source)s and p.kind = %(kind)s and p.state = 'loaded' and l.state = 'rejected'
    and p.first_event_at < %(end)s and p.last_event_at >= %(start)s and p.symbols && %(symbols)s
order by l.load_id
"""
_SUPERSEDE: Final = """
update ops.history_pieces as p set state = 'superseded'
from ops.loads as l
where p.load_id = l.load_id and p.source = %(source)s and p.kind = %(kind)s and p.state = 'loaded'
    and l.state = 'rejected' and p.first_event_at >= %(start)s and p.last_event_at < %(end)s
    and p.symbols <@ %(symbols)s and p.run_id is distinct from %(run_id)s
"""
_USED: Final = """
select (r.r).used::bigint, (r.r).past_used::bigint
from (select ops.vendor_room(%s, %s::interval, %s::interval, 0, null, null, clock_timestamp()) as r) as r
"""


@dataclass(frozen=True, slots=True)
class Covered:
    """A span `[start, until)` of a symbol that was asked for (as `asked_as`), how many events came, how it ended."""

    symbol: str
    asked_as: str
    start: datetime
    until: datetime
    events: int
    ended: Ended
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """A raw object of history; `window` is what was asked for, `covers` what is covered once it is landed."""

    piece_id: uuid.UUID
    source: str
    kind: Kind
    window: Window
    symbols: tuple[str, ...]
    s3_key: str
    event_count: int
    first_event_at: datetime
    last_event_at: datetime
    covers: tuple[Covered, ...]
    run_id: str | None
    state: str = "intended"
    sha256: str | None = None


def lease_name(source: str, kind: str, window_start: datetime) -> str:
    """Who works on a window of history holds this lease: one at a time for each start of a window."""
    return f"history {source} {kind} {window_start:%Y-%m-%dT%H:%M:%SZ}"


def missing(
    conn: psycopg.Connection,
    source: str,
    kind: Kind,
    wanted: Iterable[tuple[str, str, Window]],
    *,
    only_run: str | None = None,
) -> list[tuple[str, Window]]:
    """The parts of `wanted` (symbol, vendor's id, window) that are not covered, in that order.

    `only_run`: only what this run covered counts.
    """
    rows = list(wanted)
    found = conn.execute(
        _MISSING,
        {
            "source": source, "kind": kind, "run_id": only_run,
            "symbols": [symbol for symbol, _, _ in rows], "ids": [asked_as for _, asked_as, _ in rows],
            "starts": [window.start for _, _, window in rows], "ends": [window.end for _, _, window in rows],
        },
    )  # fmt: skip
    return [(symbol, Window(start, end)) for symbol, start, end in found]


def cover(
    conn: psycopg.Connection, lease: Lease, source: str, kind: Kind, covers: Sequence[Covered], run_id: str | None
) -> None:
    """Write down what is covered, in the caller's transaction. What it contains of older rows it replaces."""
    lease.fence()
    if not covers:
        return
    conn.execute(
        _COVER,
        {
            "source": source, "kind": kind, "run_id": run_id,
            "symbols": [one.symbol for one in covers], "ids": [one.asked_as for one in covers],
            "starts": [one.start for one in covers], "ends": [one.until for one in covers],
            "events": [one.events for one in covers], "ended": [one.ended for one in covers],
            "reasons": [one.reason for one in covers],
        },
    )  # fmt: skip


def intend(lease: Lease, piece: Piece) -> None:
    """Write down what will be put under which key. Raises FencedError."""
    with lease.conn.transaction():
        lease.fence()
        covers = orjson.dumps([asdict(one) for one in piece.covers]).decode()
        lease.conn.execute(
            _INTEND,
            [
                piece.piece_id, piece.source, piece.kind, piece.window.start, piece.window.end, list(piece.symbols),
                piece.s3_key, piece.event_count, piece.first_event_at, piece.last_event_at, covers, piece.run_id,
            ],
        )  # fmt: skip


def landed(lease: Lease, piece: Piece, sha256: str) -> None:
    """The object is in the lake: what it covers need not be asked for again. Raises FencedError.

    Part of the caller's transaction.
    """
    conn = lease.conn
    cover(conn, lease, piece.source, piece.kind, piece.covers, piece.run_id)
    conn.execute(
        "update ops.history_pieces set state = 'landed', sha256 = %s, landed_at = clock_timestamp() "
        "where piece_id = %s and state = 'intended'",
        [sha256, piece.piece_id],
    )


def void(lease: Lease, piece: Piece) -> None:
    """The object was never put: nothing of the piece counts. Raises FencedError."""
    with lease.conn.transaction():
        lease.fence()
        lease.conn.execute(
            "update ops.history_pieces set state = 'void' where piece_id = %s and state = 'intended'", [piece.piece_id]
        )


def settle(conn: psycopg.Connection, keys: Iterable[str]) -> None:
    """Mark those of the landed objects as loaded whose loads were judged."""
    conn.execute(
        "update ops.history_pieces as p set state = 'loaded', load_id = l.load_id, loaded_at = clock_timestamp() "
        "from ops.loads as l "
        "where p.s3_key = any(%s) and p.state = 'landed' and l.origin = p.s3_key and l.state <> 'landed'",
        [list(keys)],
    )


def open_pieces(conn: psycopg.Connection, source: str, kind: Kind, window: Window) -> list[Piece]:
    """Pieces of windows that overlap this one and are not loaded yet, oldest first."""
    return [_piece(*row) for row in conn.execute(_OPEN, [source, kind, window.end, window.start])]


def rejected_loads(
    conn: psycopg.Connection, source: str, kind: Kind, window: Window, symbols: Sequence[str]
) -> list[int]:
    """Loads of the window's pieces that the audit rejected, and that nobody accepted or replaced since."""
    asked = {"source": source, "kind": kind, "start": window.start, "end": window.end, "symbols": list(symbols)}
    return [row[0] for row in conn.execute(_REJECTED, asked)]


def supersede(
    conn: psycopg.Connection, source: str, kind: Kind, window: Window, symbols: Sequence[str], run_id: str
) -> None:
    """All of the window was asked for again by this run: rejected loads of earlier ones no longer matter."""
    asked = {"source": source, "kind": kind, "start": window.start, "end": window.end, "symbols": list(symbols)}
    conn.execute(_SUPERSEDE, asked | {"run_id": run_id})


def used_budget(conn: psycopg.Connection, vendor: str, span: Literal["minute", "day"]) -> tuple[int, int]:
    """Calls (or the vendor's weights) of the last minute or 24 hours: of all, and of them for history."""
    lengths = {"minute": ("1 second", "1 minute"), "day": ("5 minutes", "24 hours")}
    row = conn.execute(_USED, [vendor, *lengths[span]]).fetchone()
    return (row[0], row[1]) if row else (0, 0)


def _piece(*row: Any) -> Piece:
    piece_id, source, kind, start, end, symbols, key, count, first, last, covers, state, sha256, _, run_id = row
    return Piece(
        piece_id, source, kind, Window(start, end), tuple(symbols), key, count, first, last,
        tuple(Covered(**one | _times(one)) for one in covers), run_id, state, sha256,
    )  # fmt: skip


def _times(fields: dict[str, Any]) -> dict[str, datetime]:
    return {name: datetime.fromisoformat(fields[name]) for name in ("start", "until")}
