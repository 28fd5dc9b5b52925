"""What the Kinesis fake is made of: a clock that tests move, and streams with their shards, records and limits.

Times are milliseconds since the epoch, UTC. Nothing here knows of HTTP; `kinesis_api` is the protocol over it.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

HASH_KEYS = 2**128
MIB = 1024 * 1024
ACCOUNT = "000000000000"
_SECOND = 1000
_HOUR = 3600 * _SECOND
_RECORDS_PER_SECOND, _BYTES_PER_SECOND, _READ_BYTES_PER_SECOND, _READS_PER_SECOND = 1000, MIB, 2 * MIB, 5


class KinesisError(Exception):
    """An error as Kinesis answers it: its code, its text, the HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


class Clock:
    """Stands still unless moved, so that limits and expiry are exact and no test waits. Safe for threads."""

    def __init__(self, now: float | None = None) -> None:
        self._millis = round((time.time() if now is None else now) * _SECOND)
        self._start = self._millis
        self._lock = threading.Lock()
        self.slept: list[float] = []

    @property
    def millis(self) -> int:
        with self._lock:
            return self._millis

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._millis += round(seconds * _SECOND)

    def sleep(self, seconds: float) -> None:
        """What the code under test calls instead of time.sleep."""
        self.slept.append(seconds)
        self.advance(max(seconds, 0.001))

    def monotonic(self) -> float:
        """Seconds since this clock was made."""
        return (self.millis - self._start) / _SECOND

    def time(self) -> float:
        """Seconds since the epoch."""
        return self.millis / _SECOND


@dataclass
class Budget:
    """A token bucket: `per_second` of something, of which one second's worth may be taken at once."""

    per_second: int
    left: float = field(init=False)
    at: int = 0

    def __post_init__(self) -> None:
        self.left = self.per_second

    def can(self, amount: float, now: int) -> bool:
        self.left = min(self.per_second, self.left + max(0, now - self.at) * self.per_second / _SECOND)
        self.at = max(self.at, now)
        return amount <= self.left + 1e-9

    def take(self, amount: float, now: int) -> bool:
        if not self.can(amount, now):
            return False
        self.left -= amount
        return True


@dataclass(frozen=True)
class Stored:
    """A record as it lies in a shard."""

    sequence: int
    arrived: int
    partition_key: str
    data: bytes

    @property
    def size(self) -> int:
        return len(self.data) + len(self.partition_key.encode())


class Shard:
    """Hash keys `first` to `last`, both included. A closed shard takes nothing more and stays readable."""

    def __init__(
        self, number: int, first: int, last: int, created: int, epoch: int, parents: tuple[Shard, ...] = ()
    ) -> None:
        self.number, self.first, self.last = number, first, last
        self.created, self.epoch = created, epoch
        self.parents = tuple(parent.shard_id for parent in parents)
        self.records: deque[Stored] = deque()
        self.closed: int | None = None
        self.ending = 0  # the last possible sequence number, once closed
        self.newest = self.starting = _sequence(epoch, number, 0, created)
        self._count = 0
        self._records, self._bytes = Budget(_RECORDS_PER_SECOND), Budget(_BYTES_PER_SECOND)
        self._reads, self._read_bytes = Budget(_READS_PER_SECOND), Budget(_READ_BYTES_PER_SECOND)
        self.iterators = Budget(_READS_PER_SECOND)
        self._no_reads_until = 0

    @property
    def shard_id(self) -> str:
        return f"shardId-{self.number:012d}"

    def put(self, partition_key: str, data: bytes, now: int) -> Stored | None:
        """Store a record; None if it is over what the shard takes in a second."""
        size = len(data) + len(partition_key.encode())
        if not (self._records.can(1, now) and self._bytes.can(size, now)):
            return None
        self._records.take(1, now)
        self._bytes.take(size, now)
        self._count += 1
        self.newest = _sequence(self.epoch, self.number, self._count, now)
        stored = Stored(self.newest, now, partition_key, data)
        self.records.append(stored)
        return stored

    def close(self, now: int) -> None:
        self.closed = now
        self.ending = _sequence(self.epoch, self.number, self._count + 1, now)

    def read(self, after: int, limit: int, now: int) -> tuple[list[Stored], int | None]:
        """At most `limit` records and 10 MiB behind `after`, and when the next one arrived (None: that was all).

        Raises KinesisError where the shard was read too often or too much.
        """
        if now < self._no_reads_until or not self._reads.take(1, now):
            raise KinesisError("ProvisionedThroughputExceededException", f"Rate exceeded for shard {self.shard_id}.")
        page: list[Stored] = []
        size = 0
        for record in self.records:
            if record.sequence <= after:
                continue
            if len(page) == limit or (page and size + record.size > 10 * MIB):
                return self._read(page, size, now), record.arrived
            page.append(record)
            size += record.size
        return self._read(page, size, now), None

    def _read(self, page: list[Stored], size: int, now: int) -> list[Stored]:
        if not self._read_bytes.take(size, now):  # over 2 MiB in a second: as long as that would have taken
            self._no_reads_until = now + size * _SECOND // _READ_BYTES_PER_SECOND
        return page


class Stream:
    """A stream; CREATING, UPDATING and DELETING last `settling` seconds."""

    def __init__(self, name: str, shards: int, created: int, epoch: int, settling: float) -> None:
        self.name, self.created, self.settling = name, created, settling
        self.status = "CREATING"
        self.retention_hours = 24
        self.max_record_bytes = MIB
        self.shards: dict[str, Shard] = {}
        self.scaled: list[int] = []
        self.epoch = epoch
        self.deleted = False
        self._numbers = itertools.count()
        self._at = created  # when what is under way is done
        self._pending: tuple[int, Callable[[], object]] | None = None
        bounds = [HASH_KEYS * n // shards for n in range(shards + 1)]
        self._later(lambda: [self._add(a, b - 1) for a, b in itertools.pairwise(bounds)], created)

    @property
    def arn(self) -> str:
        return f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/{self.name}"

    @property
    def open(self) -> list[Shard]:
        """The open shards, by hash key."""
        return sorted((one for one in self.shards.values() if one.closed is None), key=lambda one: one.first)

    def settle(self, now: int) -> None:
        """Bring the stream to `now`: what was begun is done, what is older than the retention is gone."""
        if self._pending is not None and self._pending[0] <= now:
            _, act = self._pending
            self._pending = None
            act()
            self.status = "ACTIVE"
        horizon = now - self.retention_hours * _HOUR
        for shard in list(self.shards.values()):
            while shard.records and shard.records[0].arrived < horizon:
                shard.records.popleft()
            if shard.closed is not None and shard.closed < horizon:
                del self.shards[shard.shard_id]

    def horizon(self, now: int) -> int:
        return max(self.created, now - self.retention_hours * _HOUR)

    def shard(self, shard_id: str) -> Shard:
        if shard_id not in self.shards:
            raise KinesisError(
                "ResourceNotFoundException",
                f"Shard {shard_id} in stream {self.name} under account {ACCOUNT} does not exist",
            )
        return self.shards[shard_id]

    def route(self, partition_key: str, explicit_hash_key: str | None) -> Shard:
        """The open shard for a key: by its MD5, or by the hash key that was given instead."""
        digest = hashlib.md5(partition_key.encode(), usedforsecurity=False).digest()
        place = int.from_bytes(digest, "big") if explicit_hash_key is None else int(explicit_hash_key)
        return next(shard for shard in self.open if shard.first <= place <= shard.last)

    def children(self, shard: Shard) -> list[Shard]:
        return [one for one in self.shards.values() if shard.shard_id in one.parents]

    def split(self, shard: Shard, at: int, now: int) -> None:
        self._check_open(shard)
        if not shard.first < at <= shard.last:
            raise KinesisError(
                "InvalidArgumentException",
                f"NewStartingHashKey {at} used in SplitShard() on shard {shard.shard_id} in stream {self.name} is not "
                "greater than the shard's StartingHashKey and not greater than its EndingHashKey.",
            )
        self._later(lambda: self._split(shard, at, self._at), now)

    def merge(self, left: Shard, right: Shard, now: int) -> None:
        self._check_open(left)
        self._check_open(right)
        low, high = sorted((left, right), key=lambda one: one.first)
        if low.last + 1 != high.first:
            raise KinesisError(
                "InvalidArgumentException",
                f"Shards {left.shard_id} and {right.shard_id} in stream {self.name} are not an adjacent pair of shards",
            )
        self._later(lambda: self._merge(left, right, self._at), now)

    def scale(self, target: int, now: int) -> None:
        """To `target` shards of equal size, by splits and merges (with shards that live for a moment only)."""
        count = len(self.open)
        day = [at for at in self.scaled if at > now - 24 * _HOUR]
        if target > 2 * count or 2 * target < count or len(day) >= 10:
            raise KinesisError(
                "LimitExceededException",
                f"UpdateShardCount cannot go from {count} shards to {target}: at most double, at least half, ten times "
                "in 24 hours",
            )
        self.scaled.append(now)
        self._later(lambda: self._scale(target, self._at), now)

    def delete(self, now: int) -> None:
        def gone() -> None:
            self.deleted = True

        self._later(gone, now)
        self.status = "DELETING"

    def _later(self, act: Callable[[], object], now: int) -> None:
        if self.status != "CREATING":
            self.status = "UPDATING"
        self._at = now + round(self.settling * _SECOND)
        self._pending = (self._at, act)

    def _check_open(self, shard: Shard) -> None:
        if shard.closed is not None:
            raise KinesisError(
                "ResourceInUseException",
                f"Shard {shard.shard_id} in stream {self.name} under account {ACCOUNT} has already been merged or "
                "split, and thus is not eligible for merging or splitting.",
            )

    def _add(self, first: int, last: int, *parents: Shard) -> Shard:
        # Children begin in a later second than their parents, as their sequence numbers do.
        self.epoch = max([self.epoch, self._at // _SECOND, *(parent.epoch + 1 for parent in parents)])
        shard = Shard(next(self._numbers), first, last, self._at, self.epoch, parents)
        self.shards[shard.shard_id] = shard
        return shard

    def _split(self, shard: Shard, at: int, now: int) -> None:
        shard.close(now)
        self._add(shard.first, at - 1, shard)
        self._add(at, shard.last, shard)

    def _merge(self, left: Shard, right: Shard, now: int) -> Shard:
        left.close(now)
        right.close(now)
        return self._add(min(left.first, right.first), max(left.last, right.last), left, right)

    def _scale(self, target: int, now: int) -> None:
        bounds = [HASH_KEYS * n // target for n in range(target + 1)]
        for bound in bounds[1:-1]:
            shard = next(one for one in self.open if one.first <= bound <= one.last)
            if shard.first < bound:
                self._split(shard, bound, now)
        for first, last in itertools.pairwise(bounds):
            inside = [one for one in self.open if first <= one.first and one.last < last]
            while len(inside) > 1:
                inside[:2] = [self._merge(inside[0], inside[1], now)]


def _sequence(epoch: int, shard: int, count: int, now: int) -> int:
    """56 digits, laid out as the service's own are: they grow in a shard, are never equal in two, and have gaps."""
    seconds = now // _SECOND
    return int(f"2{epoch:09x}{shard % 16:x}{count:016x}00{seconds:09x}{shard:08x}2", 16)


def encoded_shard(sequence: int) -> tuple[int, int]:
    """(shard number, its epoch) of a sequence number."""
    text = f"{sequence:047x}"
    return int(text[-9:-1], 16), int(text[1:10], 16)
