"""Reading a Kinesis stream shard by shard, from where the last reader stopped.

Sequence numbers are texts of digits and compare as integers. Reading changes nothing in the stream.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any, Final

from include.errors import StreamError
from include.stream.backoff import PATIENT, Backoff, error_code

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient

_PAGE_RECORDS: Final = 10_000
_EMPTY_PAGE_PAUSE: Final = 0.25  # seconds; a shard answers five GetRecords a second
_READS_PER_SECOND: Final = 5  # what a shard allows, all its readers together
_BYTES_PER_SECOND: Final = 2 * 1024 * 1024
_THROTTLED: Final = "ProvisionedThroughputExceededException"
_LOOKS_BEFORE_GONE: Final = 5  # a shard that says "nothing more" is asked again before its records count as gone


class RecordsGoneError(StreamError):
    """The stream no longer holds records that were to be read: trimmed by retention, or the stream is another one."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard, with the shards it was split or merged from. A closed one takes no more records."""

    shard_id: str
    parents: tuple[str, ...]
    closed: bool


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """A stream: when it was made (another time under the same name is another stream) and its shards, parents first."""

    name: str
    created_at: datetime
    retention: timedelta
    shards: tuple[Shard, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it lies in the stream. `arrived_at` is UTC, to the millisecond.

    `read_at` (UTC): when the page came that it was on. Nothing is missing between two records of one page; between two
    pages the stream may have let go of what lay there.
    """

    sequence_number: str
    arrived_at: datetime
    partition_key: str
    data: bytes
    read_at: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Batch:
    """Records in the shard's order. `closed`: the shard ends with them; `millis_behind` 0: nothing more was there.

    `read_at` (UTC): when the last page of it came, that with the last records or an empty one behind them.
    """

    records: list[Record]
    millis_behind: int
    closed: bool
    read_at: datetime | None = field(default=None, compare=False)

    @property
    def caught_up(self) -> bool:
        return self.closed or self.millis_behind == 0


def made_at(kinesis: KinesisClient, stream: str, *, backoff: Backoff = PATIENT) -> datetime:
    """When the stream of this name was made (UTC). Raises StreamError if there is none."""
    try:
        summary = backoff.call(kinesis.describe_stream_summary, StreamName=stream)["StreamDescriptionSummary"]
    except Exception as error:
        raise _explain(error, f"the stream {stream} cannot be described") from error
    return summary["StreamCreationTimestamp"].astimezone(UTC)


def describe(kinesis: KinesisClient, stream: str, *, backoff: Backoff = PATIENT) -> StreamInfo:
    """Look the stream up. Raises StreamError if there is none of this name."""
    try:
        summary = backoff.call(kinesis.describe_stream_summary, StreamName=stream)["StreamDescriptionSummary"]
        found: dict[str, Shard] = {}
        arguments: dict[str, Any] = {"StreamName": stream}
        while arguments:
            page = backoff.call(kinesis.list_shards, **arguments)
            for shard in page["Shards"]:
                parents = (shard.get("ParentShardId"), shard.get("AdjacentParentShardId"))
                closed = "EndingSequenceNumber" in shard["SequenceNumberRange"]
                found[shard["ShardId"]] = Shard(shard["ShardId"], tuple(p for p in parents if p), closed)
            arguments = {"NextToken": page["NextToken"]} if page.get("NextToken") else {}
    except Exception as error:
        raise _explain(error, f"the stream {stream} cannot be described") from error
    order = TopologicalSorter(
        {name: [parent for parent in found[name].parents if parent in found] for name in sorted(found)}
    )
    return StreamInfo(
        stream,
        summary["StreamCreationTimestamp"].astimezone(UTC),
        timedelta(hours=summary["RetentionPeriodHours"]),
        tuple(found[name] for name in order.static_order()),
    )


def read_batch(
    kinesis: KinesisClient,
    stream: str,
    shard_id: str,
    after: str | None,
    max_records: int,
    max_bytes: int,
    *,
    at: str | None = None,
    backoff: Backoff = PATIENT,
) -> Batch:
    """Read what follows `after` (None: from `at` on, None: the oldest there is) until nothing more or a limit is there.

    What the stream has let go of is passed over: the oldest record that is left comes next.

    `max_bytes` counts data; the first record is returned whatever its size. Empty pages before the end are normal and
    read over, for `backoff.seconds` at the most; what was read until then is returned, with `millis_behind` above 0.
    Raises StreamError if the shard cannot be read.
    """
    records: list[Record] = []
    size, started = 0, backoff.clock()
    pages = _Pages(kinesis, stream, shard_id, after, backoff, at=at)
    while True:
        page = pages.next(min(max_records - len(records), _PAGE_RECORDS))
        for record in page.records:
            size += len(record.data)
            if records and size > max_bytes:
                return Batch(records, max(page.millis_behind, 1), closed=False, read_at=page.read_at)
            records.append(record)
        if page.caught_up or len(records) >= max_records:
            return Batch(records, page.millis_behind, page.closed, page.read_at)
        if not page.records:
            if backoff.clock() - started >= backoff.seconds:
                return Batch(records, page.millis_behind, page.closed, page.read_at)
            backoff.sleep(_EMPTY_PAGE_PAUSE)


def read_range(
    kinesis: KinesisClient, stream: str, shard_id: str, first: str, last: str, *, backoff: Backoff = PATIENT
) -> Batch:
    """Read the records from `first` to `last`, both included, once more.

    Raises RecordsGoneError naming what is missing if the stream no longer holds one of the two ends, StreamError if the
    shard cannot be read now.
    """
    records: list[Record] = []
    looks, started = 0, backoff.clock()
    pages = _Pages(kinesis, stream, shard_id, None, backoff, at=first, strict=True)
    while not records or int(records[-1].sequence_number) < int(last):
        page = pages.next(_PAGE_RECORDS)
        records += page.records
        if records and int(records[0].sequence_number) != int(first):
            raise _gone(stream, shard_id, first, last, f"its oldest record there is {records[0].sequence_number}")
        if not page.records:
            looks += page.caught_up
            if page.closed or looks == _LOOKS_BEFORE_GONE:
                held = f"it ends at {records[-1].sequence_number}" if records else "it holds nothing from there on"
                raise _gone(stream, shard_id, first, last, held)
            if backoff.clock() - started >= backoff.seconds:
                raise StreamError(f"{stream}/{shard_id} gave nothing at {first} for {backoff.seconds:g} s; try again")
            backoff.sleep(_EMPTY_PAGE_PAUSE)
    within = [record for record in records if int(record.sequence_number) <= int(last)]
    if int(within[-1].sequence_number) != int(last):
        raise _gone(stream, shard_id, first, last, f"after {within[-1].sequence_number} comes another record")
    return Batch(within, page.millis_behind, closed=False)


def first_record(
    kinesis: KinesisClient,
    stream: str,
    shard_id: str,
    *,
    at: str | None = None,
    since: datetime | None = None,
    backoff: Backoff = PATIENT,
) -> Record | None:
    """The first record from number `at` on, or that arrived at `since` (UTC) or later; by default the oldest there is.

    None: there is none. Raises RecordsGoneError for a number that the shard does not know, StreamError if the shard
    cannot be read.
    """
    pages = _Pages(kinesis, stream, shard_id, None, backoff, at=at, since=since, strict=True)
    started = backoff.clock()
    while True:
        page = pages.next(1 if since is None else _PAGE_RECORDS)
        for record in page.records:  # a client may send a time in whole seconds
            if since is None or record.arrived_at >= since:
                return record
        if page.caught_up:
            return None
        if not page.records:
            if backoff.clock() - started >= backoff.seconds:
                raise StreamError(f"{stream}/{shard_id} gives only empty pages; try again")
            backoff.sleep(_EMPTY_PAGE_PAUSE)


class _Pages:
    """The pages of GetRecords from a position on; expired iterators are replaced behind the last record read.

    Pages are read as fast as the shard gives them, until it says that this is too fast: from then on at the pace that a
    shard allows.
    """

    def __init__(
        self,
        kinesis: KinesisClient,
        stream: str,
        shard_id: str,
        after: str | None,
        backoff: Backoff,
        *,
        at: str | None = None,
        since: datetime | None = None,
        strict: bool = False,
    ) -> None:
        self._kinesis, self._stream, self._shard_id, self._backoff = kinesis, stream, shard_id, backoff
        self._after, self._at, self._since = after, None if after else at, since
        self._strict = strict  # what is trimmed is an error, not passed over
        self._iterator: str | None = None
        self._paced = False
        self._not_before = 0.0

    def next(self, limit: int) -> Batch:
        """At most `limit` records; a page that is full is never the end, whatever its `MillisBehindLatest` says."""
        for _ in range(self._backoff.attempts):
            try:
                self._iterator = self._iterator or self._new_iterator()
                answer = self._backoff.call(self._get_records, ShardIterator=self._iterator, Limit=limit)
                break
            except Exception as error:
                if error_code(error) != "ExpiredIteratorException":
                    raise _explain(error, f"{self._stream}/{self._shard_id} cannot be read") from error
                self._iterator = None
        else:
            raise StreamError(
                f"{self._stream}/{self._shard_id}: the iterator expired {self._backoff.attempts} times in a row "
                "without an answer; try again, and check this machine's clock"
            )
        read_at = datetime.now(UTC)
        records = [
            Record(
                one["SequenceNumber"],
                one["ApproximateArrivalTimestamp"].astimezone(UTC),
                one["PartitionKey"],
                one["Data"],
                read_at,
            )
            for one in answer["Records"]
            if self._after is None or int(one["SequenceNumber"]) > int(self._after)
        ]
        size = sum(len(record.data) for record in records)
        self._not_before = self._backoff.clock() + max(1 / _READS_PER_SECOND, size / _BYTES_PER_SECOND)
        if records:
            self._after, self._at = records[-1].sequence_number, None
        self._iterator = answer.get("NextShardIterator")
        if not self._iterator:
            return Batch(records, 0, closed=True, read_at=read_at)
        behind = answer["MillisBehindLatest"] or int(len(answer["Records"]) >= limit)
        return Batch(records, behind, closed=False, read_at=read_at)

    def _get_records(self, **asked: Any) -> Any:
        if self._paced and (early := self._not_before - self._backoff.clock()) > 0:
            self._backoff.sleep(early)
        try:
            return self._kinesis.get_records(**asked)
        except Exception as error:
            self._paced = self._paced or error_code(error) == _THROTTLED
            raise

    def _new_iterator(self) -> str:
        position: dict[str, Any] = {"ShardIteratorType": "TRIM_HORIZON"}
        if self._at is not None:
            position = {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": self._at}
        elif self._after is not None:
            position = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": self._after}
        elif self._since is not None:
            position = {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": self._since}
        asked = {"StreamName": self._stream, "ShardId": self._shard_id}
        try:
            answer = self._backoff.call(self._kinesis.get_shard_iterator, **asked, **position)
        except Exception as error:
            wanted = self._strict and self._at is not None
            numbered = self._after is not None or self._at is not None
            if wanted or not numbered or error_code(error) != "InvalidArgumentException":
                raise
            # The record that was read last, or is to be read first, is trimmed; the oldest that is left comes next.
            answer = self._backoff.call(self._kinesis.get_shard_iterator, **asked, ShardIteratorType="TRIM_HORIZON")
        return answer["ShardIterator"]


def _gone(stream: str, shard_id: str, first: str, last: str, held: str) -> RecordsGoneError:
    return RecordsGoneError(f"{stream}/{shard_id} no longer holds all records from {first} to {last}: {held}")


def _explain(error: Exception, what: str) -> StreamError:
    if isinstance(error, StreamError):
        return error
    if error_code(error) in ("ResourceNotFoundException", "InvalidArgumentException"):
        return RecordsGoneError(f"{what}: {error}\nCheck its name and region; `make up` makes the local stream.")
    return StreamError(f"{what}: {error}")
