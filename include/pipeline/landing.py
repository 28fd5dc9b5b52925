"""One landing at work: what it works with and what it has done, shared by the threads that read shards."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from include.pipeline.same_stream import SameStream
from include.settings import Settings
from include.stream.consumer import Record, Shard
from include.warehouse.leases import Lease

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_s3 import S3Client

STEP: Final = "land"
_CLOCKS: Final = timedelta(seconds=5)  # how far the clocks of two shards, or ours and the stream's, may be apart
_MILLISECOND: Final = timedelta(milliseconds=1)


@dataclass(slots=True)
class Landing:
    """`database` is held by whoever uses the lease's connection; `stop` tells the threads to end where they are."""

    settings: Settings
    lease: Lease
    kinesis: KinesisClient
    s3: S3Client
    run_id: str | None
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    counts: Counter[str] = field(default_factory=Counter)
    losses: list[str] = field(default_factory=list)
    database: threading.Lock = field(default_factory=threading.Lock)
    stop: threading.Event = field(default_factory=threading.Event)
    same_stream: SameStream = field(default_factory=SameStream)


@dataclass(slots=True)
class Reading:
    """How far a landing has read one shard.

    `is_cut`: it took what it was allowed, there is more. `is_closed`: the shard ends there. `is_over`: nothing more of
    it is read in this landing. `millis_behind` is what Kinesis said last. `error` is why it could not be read on.

    What arrived before `read_until` is read. `is_unread`: nothing was ever read of the shard. `trimmed`: from and until
    when the stream may have let go of what arrived, unread; whoever says so takes it away. All times are UTC.
    """

    shard: Shard
    read_until: datetime
    keeps: timedelta
    is_unread: bool = False
    trimmed: tuple[datetime, datetime] | None = None
    page_at: datetime | None = None
    events: int = 0
    first: Record | None = None
    last: Record | None = None
    millis_behind: int = 0
    is_caught_up: bool = False
    is_closed: bool = False
    is_cut: bool = False
    is_over: bool = False
    error: Exception | None = None

    def came(self, page_at: datetime | None) -> None:
        """A page came, and what it holds is taken next: what arrived until it was asked for may have been trimmed."""
        if page_at is None or page_at == self.page_at:
            return
        self.page_at, horizon = page_at, page_at - self.keeps
        if self.read_until < horizon:
            self.trimmed = (self.trimmed[0] if self.trimmed else self.read_until, horizon)
            self.read_until = horizon

    def take(self, record: Record, events: int) -> None:
        """The record is read and holds so many events."""
        self.came(record.read_at)
        self.events += events
        self.first, self.last = self.first or record, record
        self.read_until = max(self.read_until, record.arrived_at)
        self.is_unread = False

    @property
    def oldest(self) -> datetime:
        """When the last record arrived that was read, or what else is known of how far it is read."""
        return self.last.arrived_at if self.last else self.read_until

    def until(self, started: datetime) -> datetime | None:
        """Up to which time of arrival everything is read; None if nothing is known.

        A shard at its tip was read up to the start of the landing. A closed one says nothing of what came after it.
        """
        if self.is_caught_up and not self.is_closed:
            return started
        return min(started, self.last.arrived_at - _CLOCKS) if self.last else None

    def passed(self, started: datetime) -> bool:
        """Whether it is read beyond the start of the landing: a shard that never rests must not hold it up."""
        return self.last is not None and self.last.arrived_at > started + _CLOCKS

    def behind(self, now: datetime) -> tuple[int, int]:
        """Milliseconds behind the tip, and about how many events that is.

        Kinesis tells only the time. The events are an estimate, at the rate at which those just read had arrived; at
        least one, where there is any.
        """
        if self.is_caught_up or self.is_closed:
            return 0, 0
        millis = self.millis_behind
        if self.is_cut and self.last:
            millis = max(millis, (now - self.last.arrived_at) // _MILLISECOND, 1)
        if not self.first or not self.last:
            return millis, min(millis, 1)
        span = max((self.last.arrived_at - self.first.arrived_at) // _MILLISECOND, 1)
        return millis, max(1, round(self.events / span * millis)) if millis else 0

    def as_json(self, now: datetime) -> dict[str, Any]:
        """For the outcome."""
        millis, events = self.behind(now)
        return {"events": self.events, "millis_behind": millis, "records_behind": events}
