"""A Kinesis that behaves as the documentation says, in front of the local AWS: it answers Kinesis, the rest passes.

    with kinesis_fake(settings) as (fake, faked):     # `faked`: the same settings, all of AWS seen through the fake
        land(faked)
        fake.split("shardId-000000000000")            # its records stay, what comes now goes to the children
        fake.clock.advance(301)                       # every iterator is expired
        fake.add(RefuseRecords((0, 2)), operation="PutRecords")

It is a `FaultProxy`: its faults (an answer that gets lost, a 500, a reset, a delay) work on calls of Kinesis too, and
`fake.seen` is the log. What the service itself does wrong at times (empty pages, throttling, expiry, trimming) is here
and in `KinesisApi`.
"""

from __future__ import annotations

import json
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, tzinfo
from types import SimpleNamespace
from typing import Any

import botocore.endpoint
import pytest

from include.settings import Settings
from include.stream.backoff import PATIENT
from tests.faults.kinesis_api import KinesisApi
from tests.faults.kinesis_model import Clock, KinesisError
from tests.faults.proxy import Fault, FaultProxy, Forward, RefuseRecords, Request, Response, behind

_TARGET = "Kinesis_20131202."
_JSON = (("Content-Type", "application/x-amz-json-1.1"),)
THROTTLED = "ProvisionedThroughputExceededException"


class FakeKinesis(FaultProxy):
    """The fake at work. `api` holds its streams and switches, `clock` its time."""

    def __init__(self, upstream: str | None = None, clock: Clock | None = None) -> None:
        super().__init__(upstream)
        self.clock = clock or Clock()
        self.api = KinesisApi(self.clock)
        self._throttled_until = 0
        self._throttled: frozenset[str] = frozenset()

    def do(self, operation: str, **asked: Any) -> dict[str, Any]:
        """Call it past HTTP, and past all faults and the log. Raises KinesisError."""
        return self.api.call(operation, asked)

    def split(self, stream: str, shard_id: str) -> tuple[str, ...]:
        """Split a shard in the middle; its children."""
        shard = self.api.streams[stream].shards[shard_id]
        self.patient("SplitShard", StreamName=stream, ShardToSplit=shard_id,
                     NewStartingHashKey=str((shard.first + shard.last + 1) // 2))  # fmt: skip
        return tuple(one.shard_id for one in self.api.streams[stream].children(shard))

    def merge(self, stream: str, shard_id: str, adjacent: str) -> str:
        """Merge two neighbours; their child."""
        shard = self.api.streams[stream].shards[shard_id]
        self.patient("MergeShards", StreamName=stream, ShardToMerge=shard_id, AdjacentShardToMerge=adjacent)
        return self.api.streams[stream].children(shard)[0].shard_id

    def make_again(self, stream: str, shards: int = 1) -> None:
        """Delete the stream with all it holds and make another one of the same name."""
        self.patient("DeleteStream", StreamName=stream)
        self.patient("CreateStream", StreamName=stream, ShardCount=shards)

    def patient(self, operation: str, **asked: Any) -> dict[str, Any]:
        """The same as `do`, a second later if there were too many calls in this one."""
        try:
            return self.do(operation, **asked)
        except KinesisError as error:
            if error.code != "LimitExceededException":
                raise
            self.clock.advance(1)
            return self.do(operation, **asked)

    def open_shards(self, stream: str) -> list[str]:
        """The open shards' ids, by hash key."""
        return [shard.shard_id for shard in self.api.streams[stream].open]

    def held(self, stream: str) -> list[bytes]:
        """The data of all records in the stream, shard by shard."""
        shards = self.api.streams[stream].shards
        return [record.data for _, shard in sorted(shards.items()) for record in shard.records]

    def expire_iterators(self) -> None:
        """All iterators given out until now are expired."""
        self.api.expire_iterators()

    def throttle(self, seconds: float, *operations: str) -> None:
        """Refuse these operations (none named: all) for a span of the fake's time."""
        self._throttled_until = self.clock.millis + round(seconds * 1000)
        self._throttled = frozenset(operations)

    def _forward(self, request: Request) -> Response:
        if not request.header("X-Amz-Target").startswith(_TARGET):
            return super()._forward(request)
        operation = request.operation
        try:
            if self.clock.millis < self._throttled_until and (not self._throttled or operation in self._throttled):
                self.clock.advance(0.001)
                raise KinesisError(THROTTLED, "Rate exceeded.")
            answer = self.api.call(operation, json.loads(request.body or b"{}"))
        except KinesisError as error:
            body = json.dumps({"__type": error.code, "message": error.message}).encode()
            return Response(error.status, body, _JSON)
        return Response(200, json.dumps(answer).encode() if answer else b"", _JSON)


@dataclass(frozen=True)
class First(Fault):
    """Do something (split a shard, let iterators expire), then pass the request on."""

    action: Callable[[], object]

    def act(self, request: Request, forward: Forward, closing: threading.Event) -> Response:
        self.action()
        return forward(request)


@dataclass(frozen=True)
class Afterwards(Fault):
    """Pass the request on, do something, then answer."""

    action: Callable[[], object]

    def act(self, request: Request, forward: Forward, closing: threading.Event) -> Response:
        response = forward(request)
        self.action()
        return response


@dataclass(frozen=True)
class RefuseSome(Fault):
    """A PutRecords does not take `count` of its records, chosen by `seed`."""

    count: int
    seed: int = 0
    code: str = THROTTLED

    def act(self, request: Request, forward: Forward, closing: threading.Event) -> Response:
        size = len(request.json()["Records"])
        chosen = random.Random(self.seed).sample(range(size), min(self.count, size))
        return RefuseRecords(tuple(chosen), self.code).act(request, forward, closing)


@contextmanager
def kinesis_fake(settings: Settings, *, shards: int = 1) -> Iterator[tuple[FakeKinesis, Settings]]:
    """The fake with the stream of these settings in it, and the settings that go through it. One clock for all."""
    with FakeKinesis(settings.aws_endpoint_url) as fake, one_clock(fake.clock):
        fake.do("CreateStream", StreamName=settings.stream, ShardCount=shards)
        yield fake, behind(settings, fake)


@contextmanager
def one_clock(clock: Clock) -> Iterator[None]:
    """This clock in place of the real one: waiting (ours and botocore's) moves it and takes no time.

    `datetime.now` of the stream's and the pipeline's modules shows it too.
    """

    class Now(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.fromtimestamp(clock.time(), tz)

    waits = PATIENT.sleep, PATIENT.clock
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            ours = name.startswith(("include.pipeline.", "include.stream."))
            if ours and getattr(module, "datetime", None) is datetime:
                patch.setattr(module, "datetime", Now)
        patch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=clock.sleep))
        try:
            _wait_with(clock.sleep, clock.monotonic)
            yield
        finally:
            _wait_with(*waits)


def _wait_with(sleep: Callable[[float], None], monotonic: Callable[[], float]) -> None:
    # The object is frozen, and the default argument of every function that waits: a new one would reach none of them.
    object.__setattr__(PATIENT, "sleep", sleep)
    object.__setattr__(PATIENT, "clock", monotonic)
