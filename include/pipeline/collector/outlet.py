"""Events -> disk -> Kinesis, in order. What is on disk is safe; it leaves once the stream has taken it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING, Final

from include.errors import StreamError
from include.events import Event
from include.pipeline.collector.aside import aside
from include.sources.base import Rejected
from include.stream.aggregate import Packed, aggregate
from include.stream.backoff import Backoff
from include.stream.producer import MAX_RECORD_BYTES, put_records
from include.stream.spool import Spool, SpoolFullError

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient

log = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 0.25
BATCH_RECORDS: Final = 5_000
BATCH_BYTES: Final = 4 * 1024 * 1024
_LONGEST_PAUSE: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Mark:
    """Once so many records have left, the source is complete up to `until`."""

    records: int
    until: datetime | None


class Outlet:
    """The way out of one collector. `stopping` cuts waits for a stream that is away short.

    `reject` is told what is too large for the stream. `sent` counts events that were put, `taken` those that have left
    the disk for it.
    """

    def __init__(
        self,
        kinesis: KinesisClient,
        stream: str,
        spool: Spool,
        reject: Callable[[Rejected], None],
    ) -> None:
        self.kinesis, self.stream, self.spool, self.reject = kinesis, stream, spool, reject
        self.stopping = threading.Event()
        self.sent = 0
        self.sent_until: datetime | None = None  # complete up to here, and all of it taken by the stream
        self.stream_trouble = self.spool_trouble = ""
        self.stuck_since: float | None = None
        self._written = spool.count
        self.taken = 0
        self._marks: deque[_Mark] = deque()
        self._appended = asyncio.Event()
        if self._written:
            self._appended.set()

    async def write(self, events: Sequence[Event], until: datetime | None) -> list[Event]:
        """Put events on disk; `until` says up to when the source is complete with them. Returns those without room.

        Their last trade carries up to when everything has left already: so whoever loads it has loaded all before.
        """
        records = [(event.symbol, event.to_json()) for event in self._marked(events)]
        written = await aside(self._append, records)
        if written:
            self._written += written
            self._appended.set()
        if written == len(records):
            self.spool_trouble = ""
            self._marks.append(_Mark(self._written, until))
        return list(events[written:])

    async def drain(self) -> None:
        """Send what is on disk, and go on for ever with what comes. Cancel it when the spool is empty or time is up."""
        while True:
            batch = await aside(self.spool.peek, BATCH_RECORDS, BATCH_BYTES)
            if not batch:
                self._appended.clear()
                if self.spool.count == 0:
                    await self._appended.wait()
                continue
            rest, failures = aggregate(batch), 0
            while rest := await aside(self._send, rest):
                failures += 1
                await asyncio.sleep(min(_LONGEST_PAUSE, 0.25 * 2**failures))
            await aside(self.spool.acknowledge)
            self._acknowledged(len(batch))

    @property
    def waiting(self) -> int:
        """Records on disk that the stream has not taken."""
        return self._written - self.taken

    @property
    def stuck_seconds(self) -> float:
        """For how long the stream has been refusing everything; 0 while it takes."""
        return 0.0 if self.stuck_since is None else monotonic() - self.stuck_since

    def _append(self, records: list[tuple[str, bytes]]) -> int:
        """As many of the first ones as there is room for; what cannot be written whole is written in halves."""
        try:
            return self.spool.append(records)
        except SpoolFullError as full:
            self.spool_trouble = str(full)
            half = len(records) // 2
            written = self._append(records[:half]) if half else 0
            return written + (self._append(records[half:]) if half and written == half else 0)

    def _marked(self, events: Sequence[Event]) -> list[Event]:
        marked = list(events)
        for place in range(len(marked) - 1, -1, -1):
            if marked[place].kind == "trade":
                marked[place] = replace(marked[place], complete_until=self.sent_until)
                break
        return marked

    def _send(self, rest: list[Packed]) -> list[Packed]:
        """Put records and return those that the stream did not take. It is away if it took none of them."""
        backoff = Backoff(attempts=2, seconds=10.0, sleep=lambda seconds: _pause(self.stopping, seconds))
        records = [(one.key, one.data) for one in rest]
        try:
            report = put_records(self.kinesis, self.stream, records, keys_apart=True, backoff=backoff)
        except Exception as error:
            if not isinstance(error, StreamError) and not type(error).__module__.startswith("botocore."):
                raise
            return self._refused(" ".join(str(error).split()).removesuffix("."), rest)
        for index in report.oversize:
            said = f"the record has {len(rest[index].data):,} bytes, more than the stream's {MAX_RECORD_BYTES:,}"
            self.reject(Rejected(1, said, rest[index].data))
        again: list[int] = []
        for failed in report.failed:
            if failed.error_code == "InvalidPartitionKey":
                self.reject(Rejected(1, "its symbol cannot be a partition key", rest[failed.index].data))
            else:
                again.append(failed.index)
        gone = {failed.index for failed in report.failed} | set(report.oversize)
        self.sent += sum(len(one.indices) for index, one in enumerate(rest) if index not in gone)
        if again and len(again) == len(rest):
            where = f"the stream {self.stream} at {self.kinesis.meta.endpoint_url}"
            why = f"takes nothing ({report.failed[0].error_code}); `quantstream status` shows whether it is there"
            return self._refused(f"{where} {why}", rest)
        if self.stuck_since is not None:
            log.warning("the stream %s takes records again, after %.0f s", self.stream, self.stuck_seconds)
        self.stream_trouble, self.stuck_since = "", None
        return [rest[index] for index in again]

    def _refused(self, why: str, rest: list[Packed]) -> list[Packed]:
        if self.stuck_since is None:
            log.warning("%s; what comes is kept on disk", why)
            self.stuck_since = monotonic()
        self.stream_trouble = why
        return rest

    def _acknowledged(self, count: int) -> None:
        self.taken += count
        while self._marks and self._marks[0].records <= self.taken:
            until = self._marks.popleft().until
            if until is not None and (self.sent_until is None or until > self.sent_until):
                self.sent_until = until


def _pause(stopping: threading.Event, seconds: float) -> None:
    with suppress(InterruptedError):
        stopping.wait(seconds)
