"""Kinesis -> S3: what arrived in the stream becomes raw objects in the lake, each range of records exactly once.

A range is written down in the warehouse first (the intent), then its object is put, then it is marked as landed.
Whoever comes after a crash finds the intent, reads exactly that range again and puts the same bytes under the same key.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from include.aws import client
from include.crashpoints import crash_point
from include.errors import StreamError
from include.events import iso
from include.lake import raw
from include.pipeline.landing import STEP, Landing, Reading
from include.pipeline.raw_objects import cut, lines
from include.pipeline.stream_losses import lose, notice_another_stream, notice_shards_that_are_gone, say_trimmed
from include.pipeline.sweep import sweep
from include.settings import Settings
from include.stream import consumer
from include.stream.consumer import Record, RecordsGoneError, StreamInfo
from include.warehouse import ranges, resets
from include.warehouse.db import connect
from include.warehouse.leases import lease
from include.warehouse.outcomes import attempt
from include.warehouse.ranges import StreamRange

log = logging.getLogger(__name__)

_PAGE_BYTES: Final = 8 * 1024 * 1024  # what a thread reads of its shard before it goes on to pack it


@dataclass(frozen=True, slots=True)
class LandReport:
    """What one landing did. `finished`: ranges that a dead process had left open.

    `records` are the stream's, `events` what they hold. `lost`: records of ranges that could not be read again; what
    the stream still held of them is landed in new ranges. `millis_behind`: how far the shard that is furthest behind
    was from its tip at the end; `records_behind`: about how many events wait in all shards (Kinesis does not tell: it
    is that time, at the rate at which those just read had arrived).
    """

    objects: int = 0
    records: int = 0
    events: int = 0
    bytes: int = 0
    finished: int = 0
    lost: int = 0
    millis_behind: int = 0
    records_behind: int = 0

    @property
    def seconds_behind(self) -> float:
        return self.millis_behind / 1000

    def __str__(self) -> str:
        more = f", {self.finished} finished for a process that died" if self.finished else ""
        more += f", {self.lost} LOST" if self.lost else ""
        if self.millis_behind:
            more += f", {self.seconds_behind:g} s or about {self.records_behind} events behind"
        return f"{self.events} events of {self.records} records in {self.objects} objects ({self.bytes} bytes){more}"


def land(settings: Settings, *, run_id: str | None = None) -> LandReport:
    """Land what arrived in the stream until now: several shards at a time, parents before children.

    One landing takes `land_max_records` events at the most, divided fairly among the shards; the next one goes on
    behind them. A shard that cannot be read does not hold up the others.

    Raises LeaseHeldError if it runs already, StreamError if a shard cannot be read or the stream let go of records that
    were promised an object (all others are landed first, the loss is an outcome and an operations alert; the next run
    goes on behind it), LakeError, LakeConflictError. Safe to repeat.
    """
    with (
        connect(settings) as conn,
        attempt(conn, STEP, run_id=run_id) as this,
        lease(conn, STEP, seconds=settings.lease_seconds) as held,
    ):
        work = Landing(settings, held, client(settings, "kinesis"), client(settings, "s3"), run_id)
        stream = consumer.describe(work.kinesis, settings.stream)
        _finish_intended(work, stream)
        notice_another_stream(work, stream)
        notice_shards_that_are_gone(work, stream)
        work.started = datetime.now(UTC)
        readings = sweep(work, stream, _land_shard)
        now = datetime.now(UTC)
        behind = [reading.behind(now) for reading in readings]
        report = LandReport(
            **work.counts,
            millis_behind=max((millis for millis, _ in behind), default=0),
            records_behind=sum(events for _, events in behind),
        )
        this.row_count = report.events
        this.detail |= {
            "objects": report.objects, "records": report.records, "bytes": report.bytes,
            "millis_behind": report.millis_behind, "records_behind": report.records_behind,
            "shards": {reading.shard.shard_id: reading.as_json(now) for reading in readings},
        }  # fmt: skip
        log.info("land: %s", report)
        _raise_failures(work, readings)
    return report


def _raise_failures(work: Landing, readings: Iterable[Reading]) -> None:
    errors = [reading.error for reading in readings if reading.error is not None]
    if work.losses:
        said = [*work.losses, *map(str, errors), "Everything else is landed, the next run goes on behind it."]
        raise StreamError("\n".join(said))
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise type(errors[0])("\n".join(map(str, errors)))


def _land_shard(work: Landing, stream: StreamInfo, reading: Reading, allowed: int) -> int:
    """Land what is there of a shard, but no more than `allowed` events (and the rest of a record); how many it was."""
    settings, shard_id, before = work.settings, reading.shard.shard_id, reading.events
    records = _limited(_records(work, stream, reading), reading, before + allowed)
    for one in cut(records, max_events=settings.batch_max_records, max_bytes=settings.batch_max_bytes):
        first, last = one.first.sequence_number, one.last.sequence_number
        crash_point("before_intent")
        with work.database:
            again = resets.again(work.lease.conn, stream.name, stream.created_at, shard_id, first)
            intended = ranges.intend(
                work.lease,
                stream=stream.name,
                stream_created_at=stream.created_at,
                shard_id=shard_id,
                from_sequence=first,
                to_sequence=last,
                record_count=one.records,
                event_count=one.events,
                arrived_at=one.first.arrived_at,
                s3_key=raw.object_key(stream.name, shard_id, first, last, one.first.arrived_at, again=again),
            )
        crash_point("after_intent")
        _put(work, intended, one.body())
    _note(work, stream, reading)
    return reading.events - before


def _records(work: Landing, stream: StreamInfo, reading: Reading) -> Iterator[Record]:
    """The records of a shard, from where it was left until nothing more is there."""
    shard_id, settings = reading.shard.shard_id, work.settings
    with work.database:
        after, at = ranges.start(work.lease.conn, stream.name, stream.created_at, shard_id)
        known = ranges.read_until(work.lease.conn, stream.name).get((stream.created_at, shard_id), stream.created_at)
    reading.read_until = max(reading.read_until, known)  # a child knows it since its parent is drained
    reading.is_unread = after is None and reading.read_until <= stream.created_at
    while not work.stop.is_set():
        batch = consumer.read_batch(
            work.kinesis, stream.name, shard_id, after, settings.batch_max_records,
            min(settings.batch_max_bytes, _PAGE_BYTES), at=at,
        )  # fmt: skip
        if batch.records:
            work.same_stream.check(work.kinesis, stream)
            after = batch.records[-1].sequence_number
        yield from batch.records
        if not reading.is_unread:  # an empty shard that nobody looked at before has lost nothing that we know of
            reading.came(batch.read_at)
        reading.millis_behind = batch.millis_behind
        reading.is_caught_up, reading.is_closed = batch.caught_up, batch.closed
        if batch.caught_up or not batch.records or reading.passed(work.started):
            return


def _limited(records: Iterable[Record], reading: Reading, most: int) -> Iterator[tuple[Record, list[bytes]]]:
    """Records with their lines, until a landing has taken `most` events of the shard; at least one record."""
    reading.is_cut = reading.is_over = False
    for record in records:
        if reading.events >= most:
            reading.is_cut, reading.is_caught_up, reading.is_closed = True, False, False
            return
        its_lines = lines(record)
        reading.take(record, len(its_lines))
        yield record, its_lines
    reading.is_over = True


def _note(work: Landing, stream: StreamInfo, reading: Reading) -> None:
    """Write down how far the shard is read, and whether that is its end."""
    shard = reading.shard
    with work.database:
        if reading.trimmed is not None:
            say_trimmed(work, stream, shard.shard_id, *reading.trimmed)
            reading.trimmed = None
        until = reading.until(work.started)
        if until is not None:
            ranges.note_read(work.lease, stream.name, stream.created_at, shard.shard_id, until)
        if reading.is_closed and shard.closed:  # a shard that was closed just now has children that nobody knows yet
            children = [one.shard_id for one in stream.shards if shard.shard_id in one.parents]
            ranges.note_drained(work.lease, stream.name, stream.created_at, shard.shard_id, children)


def _put(work: Landing, intended: StreamRange, body: bytes) -> None:
    crash_point("before_put_object")
    stored = raw.put_once(work.s3, work.settings.bucket, intended.s3_key, body)
    crash_point("after_put_object")
    with work.database:
        ranges.mark_landed(work.lease, intended, stored.sha256)
        work.counts.update(objects=1, records=intended.record_count, events=intended.event_count, bytes=len(body))


def _finish_intended(work: Landing, stream: StreamInfo) -> None:
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
                lose(work, intended, str(gone))
                continue
            ranges.mark_landed(work.lease, intended, sha256)  # the object was put before the process died
        else:
            packer = raw.Packer()
            for record in batch.records:
                packer.add(lines(record))
            with work.lease.kept():
                _put(work, intended, packer.body())
        work.counts["finished"] += 1
        work.lease.renew()
