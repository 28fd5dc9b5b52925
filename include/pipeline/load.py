"""S3 -> Postgres: each raw object's events, its row in the ledger and the checkpoint in one transaction.

Two lanes. What the stream brought is loaded by `load`, shard by shard. History (a backfill, a replay of the lake) is
loaded object by object by whoever brings it (`load_object`), beside the live lane and many at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from include.aws import client
from include.crashpoints import crash_point
from include.errors import LakeError
from include.lake import raw
from include.settings import Settings
from include.warehouse import loader, ranges
from include.warehouse.db import connect
from include.warehouse.leases import Lease, lease
from include.warehouse.outcomes import attempt
from include.warehouse.ranges import StreamRange

STEP: Final = "load"
HISTORY_STEP: Final = "load_history"

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What one run loaded: objects, events that wait for their audit, lines in quarantine, objects known before.

    `load_ids` names the loads, those known before included; it counts nothing, so it is no part of a comparison.
    """

    objects: int = 0
    events: int = 0
    quarantined: int = 0
    known: int = 0
    load_ids: tuple[int, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        more = f", {self.quarantined} lines quarantined" if self.quarantined else ""
        more += f", {self.known} objects were loaded before" if self.known else ""
        return f"{self.events} events of {self.objects} objects{more}"

    def plus(self, loaded: loader.Loaded) -> LoadReport:
        """With one object more."""
        load_ids = (*self.load_ids, loaded.load_id)
        if not loaded.is_new:
            return replace(self, known=self.known + 1, load_ids=load_ids)
        return LoadReport(
            self.objects + 1, self.events + loaded.events, self.quarantined + loaded.quarantined, self.known, load_ids
        )


def load(settings: Settings, *, run_id: str | None = None) -> LoadReport:
    """Load every landed range, in the order of its shard.

    Raises LeaseHeldError if it runs already; LakeError, after all others are loaded, for objects that cannot be read
    (their shards wait at that place). Safe to repeat: an object is loaded once.
    """
    report = LoadReport()
    unreadable: list[str] = []
    with (
        connect(settings) as conn,
        attempt(conn, STEP, run_id=run_id) as this,
        lease(conn, STEP, seconds=settings.lease_seconds) as held,
    ):
        s3 = client(settings, "s3")
        stopped: set[tuple[str, datetime, str]] = set()
        for range_ in ranges.in_state(conn, "landed"):
            shard = (range_.stream, range_.stream_created_at, range_.shard_id)
            if shard in stopped:
                continue
            try:
                report = report.plus(_load_range(held, s3, settings.bucket, range_))
            except LakeError as error:
                stopped.add(shard)
                unreadable.append(str(error))
            held.renew()
        this.row_count = report.events
        this.detail |= {"objects": report.objects, "quarantined": report.quarantined, "known": report.known}
        if unreadable:
            raise LakeError("\n".join(unreadable))
    return report


def load_object(
    settings: Settings,
    key: str,
    *,
    origin: str | None = None,
    is_live: bool = False,
    sha256: str | None = None,
    run_id: str | None = None,
) -> LoadReport:
    """Load one raw object of the lake beside the live lane; the stream's checkpoints stay where they are.

    `origin` (default: the key) names the load in the ledger. One that is known is not loaded again; the report names
    its load all the same. `sha256` (hex) is what the object's body must have. Objects may be loaded many at once, in
    any order. Raises LeaseHeldError if another process loads this origin right now, LakeError if the object cannot be
    read or is another one; nothing is loaded then.
    """
    name = origin or key
    with (
        connect(settings) as conn,
        attempt(conn, HISTORY_STEP, run_id=run_id, detail={"key": key, "origin": name}) as this,
        lease(conn, f"{STEP} {name}", seconds=settings.lease_seconds) as held,
    ):
        with held.kept():
            lines = raw.read_lines(client(settings, "s3"), settings.bucket, key, sha256=sha256)
        with conn.transaction():
            held.fence()
            report = LoadReport().plus(loader.store(conn, lines, origin=name, is_live=is_live))
            crash_point("before_load_commit")
        crash_point("after_load_commit")
        this.row_count = report.events
        this.detail |= {"load_ids": report.load_ids, "quarantined": report.quarantined, "known": report.known}
    return report


def _load_range(held: Lease, s3: S3Client, bucket: str, range_: StreamRange) -> loader.Loaded:
    with held.kept():
        lines = raw.read_lines(s3, bucket, range_.s3_key, sha256=range_.sha256)
    with held.conn.transaction():
        held.fence()
        loaded = loader.store(held.conn, lines, origin=range_.s3_key, is_live=True)
        if loaded.is_new:
            _check(loaded, range_)
            marks = {mark: arrived_at or range_.arrived_at for mark, arrived_at in loaded.marks.items()}
            ranges.hold_watermarks(held.conn, range_, loaded.load_id, marks)
        ranges.mark_loaded(held, range_, loaded.arrived_at or range_.arrived_at)
        crash_point("before_load_commit")
    crash_point("after_load_commit")
    return loaded


def _check(loaded: loader.Loaded, range_: StreamRange) -> None:
    """Raise LakeError, so that nothing is loaded, if the object does not hold what was written down of it."""
    if (loaded.lines, loaded.records) != (range_.event_count, range_.record_count):
        raise LakeError(
            f"{range_.s3_key} has {loaded.lines} lines of {loaded.records} records, but its range has "
            f"{range_.event_count} events of {range_.record_count} records"
        )
