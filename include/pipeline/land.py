"""Kinesis -> S3: what arrived in the stream becomes raw objects in the lake, each range of records exactly once.

A range is written down in the warehouse first (the intent), then its object is put, then it is marked as landed.
Whoever comes after a crash finds the intent, reads exactly that range again and puts the same bytes under the same key.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from include.alerts import Alert, Severity
from include.aws import client
from include.crashpoints import crash_point
from include.errors import StreamError
from include.events import iso
from include.lake import raw
from include.settings import Settings
from include.stream import consumer
from include.stream.consumer import Record, RecordsGoneError, StreamInfo
from include.warehouse import ranges
from include.warehouse.alerts import insert_alerts
from include.warehouse.db import connect
from include.warehouse.leases import Lease, lease
from include.warehouse.outcomes import attempt, record
from include.warehouse.ranges import StreamRange

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

STEP: Final = "land"
_HOUR: Final = timedelta(hours=1)
_CLOCKS: Final = timedelta(seconds=5)  # how far the stream's clock may be ahead of ours


@dataclass(frozen=True, slots=True)
class LandReport:
    """What one landing did. `finished`: ranges that a dead process had left open.

    `lost`: records of ranges that could not be read again; what the stream still held of them is landed in new ranges.
    """

    objects: int = 0
    records: int = 0
    bytes: int = 0
    finished: int = 0
    lost: int = 0
    millis_behind: int = 0

    def __str__(self) -> str:
        more = f", {self.finished} finished for a process that died" if self.finished else ""
        more += f", {self.lost} LOST" if self.lost else ""
        more += f", {self.millis_behind / 1000:g} s behind" if self.millis_behind else ""
        return f"{self.records} records in {self.objects} objects ({self.bytes} bytes){more}"


@dataclass(slots=True)
class _Landing:
    """One landing at work: what it works with, and what it has done so far."""

    settings: Settings
    lease: Lease
    kinesis: KinesisClient
    s3: S3Client
    run_id: str | None
    report: LandReport = field(default_factory=LandReport)
    losses: list[str] = field(default_factory=list)

    def count(self, **more: int) -> None:
        self.report = replace(self.report, **{name: getattr(self.report, name) + n for name, n in more.items()})


def land(settings: Settings, *, run_id: str | None = None) -> LandReport:
    """Land what arrived in the stream until now, shard by shard, parents before children.

    Raises LeaseHeldError if it runs already, StreamError if the stream cannot be read or let go of records that were
    promised an object (all others are landed first, the loss is an outcome and an operations alert; the next run goes
    on behind it), LakeError, LakeConflictError. Safe to repeat.
    """
    with (
        connect(settings) as conn,
        attempt(conn, STEP, run_id=run_id) as this,
        lease(conn, STEP, seconds=settings.lease_seconds) as held,
    ):
        work = _Landing(settings, held, client(settings, "kinesis"), client(settings, "s3"), run_id)
        stream = consumer.describe(work.kinesis, settings.stream)
        _finish_intended(work, stream)
        _notice_another_stream(work, stream)
        _notice_what_was_trimmed(work, stream)
        unfinished: set[str] = set()
        for shard in stream.shards:
            # The records of its parents come first.
            if not unfinished.isdisjoint(shard.parents) or not _land_shard(work, stream, shard.shard_id):
                unfinished.add(shard.shard_id)
        report = work.report
        this.row_count = report.records
        this.detail |= {"objects": report.objects, "bytes": report.bytes, "millis_behind": report.millis_behind}
        if work.losses:
            raise StreamError("\n".join([*work.losses, "Everything else is landed, the next run goes on behind it."]))
    return report


def _land_shard(work: _Landing, stream: StreamInfo, shard_id: str) -> bool:
    """Land what is there; True if the shard is closed and read to its end."""
    settings = work.settings
    started = datetime.now(UTC)
    read_until: datetime | None = None
    after = ranges.position(work.lease.conn, stream.name, stream.created_at, shard_id)
    while True:
        with work.lease.kept():
            batch = consumer.read_batch(
                work.kinesis, stream.name, shard_id, after, settings.batch_max_records, settings.batch_max_bytes
            )
        for records, lines in _objects(batch.records, settings.batch_max_bytes):
            first, last = records[0], records[-1]
            key = raw.object_key(stream.name, shard_id, first.sequence_number, last.sequence_number, first.arrived_at)
            crash_point("before_intent")
            intended = ranges.intend(
                work.lease,
                stream=stream.name,
                stream_created_at=stream.created_at,
                shard_id=shard_id,
                from_sequence=first.sequence_number,
                to_sequence=last.sequence_number,
                record_count=len(records),
                arrived_at=first.arrived_at,
                s3_key=key,
            )
            crash_point("after_intent")
            _put(work, intended, lines)
            after, read_until = last.sequence_number, last.arrived_at
        work.lease.renew()
        if batch.caught_up or not batch.records or (read_until and read_until > started + _CLOCKS):
            break
    if batch.caught_up:
        read_until = started
    if read_until:
        ranges.note_read(work.lease, stream.name, stream.created_at, shard_id, read_until)
    if batch.millis_behind > work.report.millis_behind:
        work.report = replace(work.report, millis_behind=batch.millis_behind)
    return batch.closed


def _objects(records: Iterable[Record], max_bytes: int) -> Iterator[tuple[list[Record], list[bytes]]]:
    """Cut records into objects: one arrival hour each, at most `max_bytes` of lines (or a single line)."""
    within: list[Record] = []
    lines: list[bytes] = []
    size, hour = 0, datetime.min.replace(tzinfo=UTC)
    for one in records:
        line = _line(one)
        if not hour <= one.arrived_at < hour + _HOUR or size + len(line) > max_bytes:
            if within:
                yield within, lines
            within, lines, size = [], [], 0
            hour = one.arrived_at.replace(minute=0, second=0, microsecond=0)
        within.append(one)
        lines.append(line)
        size += len(line)
    if within:
        yield within, lines


def _line(one: Record) -> bytes:
    return raw.line(one.data, one.sequence_number, one.arrived_at)


def _put(work: _Landing, intended: StreamRange, lines: list[bytes]) -> None:
    body = raw.encode(lines)
    crash_point("before_put_object")
    with work.lease.kept():
        stored = raw.put_once(work.s3, work.settings.bucket, intended.s3_key, body)
    crash_point("after_put_object")
    ranges.mark_landed(work.lease, intended, stored.sha256)
    work.count(objects=1, records=len(lines), bytes=len(body))


def _finish_intended(work: _Landing, stream: StreamInfo) -> None:
    """Land the ranges that a process wrote down before it died, of this stream or of one before it."""
    for intended in ranges.in_state(work.lease.conn, "intended"):
        try:
            if intended.stream == stream.name and intended.stream_created_at != stream.created_at:
                raise RecordsGoneError(f"the stream {stream.name} was made again at {iso(stream.created_at)}")
            with work.lease.kept():
                batch = consumer.read_range(
                    work.kinesis, intended.stream, intended.shard_id, intended.from_sequence, intended.to_sequence
                )
            if len(batch.records) != intended.record_count:
                raise RecordsGoneError(f"it holds {len(batch.records)} of them")
        except RecordsGoneError as gone:
            sha256 = raw.find(work.s3, work.settings.bucket, intended.s3_key)
            if sha256 is None:
                _lose(work, intended, str(gone))
                continue
            ranges.mark_landed(work.lease, intended, sha256)  # the object was put before the process died
        else:
            _put(work, intended, [_line(one) for one in batch.records])
        work.count(finished=1)
        work.lease.renew()


def _lose(work: _Landing, intended: StreamRange, why: str) -> None:
    """Say it, everywhere: the state of the range, an outcome, an operations alert, and the error at the end."""
    said = f"{intended} can no longer be read and has no object in the lake: {why}"
    log.error(said)
    with work.lease.conn.transaction():
        ranges.mark_lost(work.lease, intended)
        _report_loss(work, said, "critical", f"range {intended.range_id}", {"lost": str(intended)})
    work.count(lost=intended.record_count)
    work.losses.append(said)


def _notice_another_stream(work: _Landing, stream: StreamInfo) -> None:
    """A stream of this name that was made at another time is read from its beginning; say so, once."""
    known = ranges.read_until(work.lease.conn, stream.name)
    made = {created_at for created_at, _ in known}
    if not made or stream.created_at in made:
        return
    read_until = max(until for (created_at, _), until in known.items() if created_at == max(made))
    said = (
        f"the stream {stream.name} was made again at {iso(stream.created_at)} (before: {iso(max(made))}) and is read "
        f"from its beginning; what arrived in the old one after {iso(read_until)} was not landed"
    )
    log.warning(said)
    with work.lease.conn.transaction():
        for shard in stream.shards:
            ranges.note_read(work.lease, stream.name, stream.created_at, shard.shard_id, stream.created_at)
        _report_loss(work, said, "warning", f"stream {iso(stream.created_at)}", {"read_until": iso(read_until)})


def _notice_what_was_trimmed(work: _Landing, stream: StreamInfo) -> None:
    """A shard that was not read for longer than the stream keeps records may have lost some; say so, once."""
    horizon = datetime.now(UTC) - stream.retention
    known = ranges.read_until(work.lease.conn, stream.name)
    for shard in stream.shards:
        until = known.get((stream.created_at, shard.shard_id))
        if until is None or until >= horizon:
            continue
        said = (
            f"{stream.name}/{shard.shard_id} was not read from {iso(until)} on, longer than it keeps records "
            f"({stream.retention}); what arrived before {iso(horizon)} is gone, if anything did"
        )
        log.warning(said)
        with work.lease.conn.transaction():
            ranges.note_read(work.lease, stream.name, stream.created_at, shard.shard_id, horizon)
            about = {"from": iso(until), "until": iso(horizon)}
            _report_loss(work, said, "warning", f"{stream.name}/{shard.shard_id} {iso(until)}", about)


def _report_loss(work: _Landing, said: str, severity: Severity, what: str, detail: dict[str, str]) -> None:
    """An outcome and an operations alert, in the caller's transaction."""
    record(work.lease.conn, STEP, False, run_id=work.run_id, error=said, detail=detail)
    insert_alerts(work.lease.conn, [Alert("stream_loss", "operations", severity, said, discriminator=what)])
