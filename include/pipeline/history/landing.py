"""History -> S3: what a source said becomes raw objects, each written down before it is put.

Whoever comes after a crash finds the intent: an object that is there is whole (a PUT is one step) and is taken over
with all that it covers; one that is not there was never put, and its events are asked for again.
"""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from include.crashpoints import crash_point
from include.events import Event, Window, iso
from include.lake import raw
from include.pipeline.history.lines import encode
from include.pipeline.history.scope import Scope
from include.sources.base import Rejected
from include.warehouse import history
from include.warehouse.history import Covered, Piece
from include.warehouse.leases import Lease
from include.warehouse.quarantine import quarantine

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_LEVEL: Final = 3  # measured on bars: three times as fast as level 6, a tenth larger
_LINE_NUMBERS: Final = 0x3FFFFFFF


@dataclass(slots=True)
class Landing:
    """One backfill's way into the lake. `window` is what was asked for, `landed` the objects so far: key -> SHA-256."""

    scope: Scope
    lease: Lease
    s3: S3Client
    window: Window
    run_id: str
    landed: dict[str, str] = field(default_factory=dict)
    events: int = 0
    rejected: int = 0
    bytes: int = 0
    _open: _Open | None = None
    _bad: list[Rejected] = field(default_factory=list)

    def room(self) -> int:
        """How many events the object that is open takes yet."""
        return self.scope.settings.history_land_events - (self._open.count if self._open else 0)

    def add(self, events: Sequence[Event], *, is_whole: bool = True) -> None:
        self._open = self._open or _Open()
        self._open.add(events, is_whole)

    def reject(self, bad: Iterable[Rejected]) -> None:
        """What is no event goes to quarantine with the next object. The same content is the same line there, however
        the answers were paged."""
        for one in bad:
            digest = zlib.crc32(b"%s %s" % ((one.symbol or "").encode(), one.raw)) & _LINE_NUMBERS
            self._bad.append(replace(one, line_number=digest or 1))

    def flush(self, covers: Sequence[Covered]) -> None:
        """Put the object that is open, if there is one, and write down what is covered by now.

        Raises LakeError, LakeConflictError, FencedError.
        """
        conn = self.lease.conn
        origin = f"history {self.scope.source} {self.scope.kind}:{iso(self.window.start)}/{iso(self.window.end)}"
        quarantine(conn, origin, self.scope.source, self._bad)
        self.rejected += len(self._bad)
        self._bad = []
        if self._open is not None:
            self._put(self._open, covers)
            self._open = None
        elif covers:
            with conn.transaction():
                history.cover(conn, self.lease, self.scope.source, self.scope.kind, covers, self.run_id)

    def _put(self, one: _Open, covers: Sequence[Covered]) -> None:
        first, last = one.span()
        piece_id, body = uuid.uuid4(), one.packer.body()
        key = raw.history_key(self.scope.source, self.scope.kind, first.date(), piece_id.hex, datetime.now(UTC))
        piece = Piece(
            piece_id, self.scope.source, self.scope.kind, self.window, tuple(sorted(one.symbols)), key, one.count,
            first, last, tuple(covers), self.run_id,
        )  # fmt: skip
        crash_point("before_history_intent")
        history.intend(self.lease, piece)
        crash_point("after_history_intent")
        crash_point("before_history_put")
        stored = raw.put_once(self.s3, self.scope.settings.bucket, key, body)
        crash_point("after_history_put")
        self._landed(piece, stored.sha256)
        self.events += one.count
        self.bytes += len(body)

    def take_over(self, piece: Piece) -> None:
        """Go on with what a process left that died: the object counts if it is there."""
        if piece.state == "landed":
            self.landed[piece.s3_key] = str(piece.sha256)
            return
        sha256 = raw.find(self.s3, self.scope.settings.bucket, piece.s3_key)
        if sha256 is None:
            history.void(self.lease, piece)
        else:
            self._landed(piece, sha256)

    def _landed(self, piece: Piece, sha256: str) -> None:
        with self.lease.conn.transaction():
            history.landed(self.lease, piece, sha256)
            crash_point("before_history_landed")
        crash_point("after_history_landed")
        self.landed[piece.s3_key] = sha256


class _Open:
    """An object that is being packed: only what is packed is kept."""

    def __init__(self) -> None:
        self.packer = raw.Packer(_LEVEL)
        self.count = 0
        self.symbols: set[str] = set()
        self._first: list[datetime] = []
        self._last: list[datetime] = []

    def add(self, events: Sequence[Event], is_whole: bool) -> None:
        self.packer.add([encode(events, is_whole=is_whole)])
        self.count += len(events)
        self.symbols |= {event.symbol for event in events}
        times = [event.event_time for event in events]
        self._first.append(min(times))
        self._last.append(max(times))

    def span(self) -> tuple[datetime, datetime]:
        return min(self._first), max(self._last)
