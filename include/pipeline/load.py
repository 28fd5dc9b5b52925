"""S3 -> Postgres: each raw object's events, its row in the ledger and the checkpoint in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, replace
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

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What one run loaded: objects, events that wait for their audit, lines in quarantine, objects known before."""

    objects: int = 0
    events: int = 0
    quarantined: int = 0
    known: int = 0

    def __str__(self) -> str:
        more = f", {self.quarantined} lines quarantined" if self.quarantined else ""
        more += f", {self.known} objects were loaded before" if self.known else ""
        return f"{self.events} events of {self.objects} objects{more}"

    def plus(self, loaded: loader.Loaded) -> LoadReport:
        """With one object more."""
        if not loaded.is_new:
            return replace(self, known=self.known + 1)
        return LoadReport(
            self.objects + 1, self.events + loaded.events, self.quarantined + loaded.quarantined, self.known
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
    settings: Settings, key: str, *, is_live: bool = False, origin: str | None = None, run_id: str | None = None
) -> LoadReport:
    """Load one raw object of the lake once more; the stream's checkpoints stay where they are.

    `origin` (default: the key) names the load in the ledger; one that is known is not loaded again. Raises like `load`.
    """
    with (
        connect(settings) as conn,
        attempt(conn, STEP, run_id=run_id, detail={"key": key, "origin": origin or key}) as this,
        lease(conn, STEP, seconds=settings.lease_seconds) as held,
    ):
        with held.kept():
            lines = raw.read_lines(client(settings, "s3"), settings.bucket, key)
        with conn.transaction():
            held.fence()
            report = LoadReport().plus(loader.store(conn, lines, origin=origin or key, is_live=is_live))
            crash_point("before_load_commit")
        crash_point("after_load_commit")
        this.row_count = report.events
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
