"""Putting, landing and loading in any order, with any faults of Kinesis in between: all that was put is there, once."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from include.aws import client
from include.errors import QuantStreamError, StreamError
from include.events import Event
from include.pipeline.land import land
from include.pipeline.load import load
from include.pipeline.sending import send
from include.settings import Settings
from include.sources.base import Batch
from include.stream.aggregate import unpack
from include.stream.producer import put_records
from tests.faults.kinesis import First, RefuseSome, kinesis_fake
from tests.faults.proxy import Answer, LoseAnswer
from tests.pipeline.streamed import SYMBOLS, Fake, accept_all, killed_at, landed_order, query

Step = tuple[str, int]
CRASHES = {
    "land": ("before_intent", "after_intent", "before_put_object", "after_put_object"),
    "load": ("before_load_commit", "after_load_commit"),
}
STEPS = st.one_of(
    st.tuples(st.sampled_from(["put", "send"]), st.integers(1, 30)),
    st.tuples(st.sampled_from(["land", "load"]), st.just(0)),
    st.tuples(st.sampled_from(["split", "merge"]), st.integers(0, 7)),
    st.tuples(
        st.sampled_from(["refuse", "throttle_reads", "expire", "empty_pages", "lose_answers", "fail", "wait"]),
        st.integers(1, 20),
    ),
    st.tuples(st.sampled_from(["crash_land", "crash_load"]), st.integers(0, 3)),
    st.tuples(st.sampled_from(["split_in_a_landing", "put_in_a_landing"]), st.integers(0, 4)),
)
PUT, SEND, LAND = ("put", 20), ("send", 20), ("land", 0)


class Platform:
    """A stream of its own in the shared fake, lake and warehouse, and what was put into it."""

    def __init__(self, at: Fake) -> None:
        self.fake = at[0]
        self.stream = f"s-{uuid.uuid4().hex[:8]}"
        self.settings = at[1].model_copy(update={"stream": self.stream})
        self.at = (self.fake, self.settings)
        self.made: list[Event] = []
        self.waiting: list[Event] = []  # not acknowledged: they go again, before anything new
        self.fake.clear()
        self.fake.api.empty_pages, self.fake.api.page_records = 0, 4
        self.fake.patient("CreateStream", StreamName=self.stream, ShardCount=2)

    def _make(self, count: int) -> None:
        now = datetime.fromtimestamp(self.fake.clock.time(), UTC)
        for n in range(len(self.made), len(self.made) + count):
            event = Event("simulator", "quote", SYMBOLS[n % 4], now, f"{self.stream}-{n}", {"price": 100 + n}, now)
            self.made.append(event)
            self.waiting.append(event)

    def put(self, count: int) -> None:
        """Each event as a record of its own."""
        self._make(count)
        records = [(event.symbol, event.to_json()) for event in self.waiting]
        report = put_records(client(self.settings, "kinesis"), self.stream, records)
        failed = {one.index for one in report.failed}
        self.waiting = [event for index, event in enumerate(self.waiting) if index in failed]

    def send(self, count: int) -> None:
        """As pulls send theirs: several events in a record."""
        self._make(count)
        lines = list(range(1, len(self.waiting) + 1))
        with suppress(StreamError):
            send(client(self.settings, "kinesis"), self.stream, Batch(self.waiting, lines, []))
            self.waiting = []

    def land(self, _: int = 0) -> None:
        with suppress(QuantStreamError):
            land(self.settings)

    def load(self, _: int = 0) -> None:
        with suppress(QuantStreamError):
            load(self.settings)

    def crash_land(self, point: int) -> None:
        with killed_at(CRASHES["land"][point]):
            self.land()

    def crash_load(self, point: int) -> None:
        with killed_at(CRASHES["load"][point % 2]):
            self.load()

    def split(self, which: int) -> None:
        shards = self.fake.open_shards(self.stream)
        if len(shards) < 6:
            self.fake.split(self.stream, shards[which % len(shards)])

    def merge(self, which: int) -> None:
        shards = self.fake.open_shards(self.stream)
        if len(shards) > 1:
            at = which % (len(shards) - 1)
            self.fake.merge(self.stream, shards[at], shards[at + 1])

    def split_in_a_landing(self, after: int) -> None:
        self.fake.add(First(lambda: self.split(after)), operation="GetRecords", after=after)
        self.land()

    def put_in_a_landing(self, after: int) -> None:
        self.fake.add(First(lambda: self.put(5)), operation="GetRecords", after=after)
        self.land()

    def refuse(self, count: int) -> None:
        self.fake.add(RefuseSome(count, seed=count), operation="PutRecords")

    def lose_answers(self, after: int) -> None:
        for operation in ("PutRecords", "GetRecords"):
            self.fake.add(LoseAnswer(), operation=operation, after=after % 3)

    def fail(self, after: int) -> None:
        for operation in ("PutRecords", "GetRecords", "GetShardIterator", "ListShards"):
            self.fake.add(Answer(500, b"{}"), operation=operation, after=after % 3)

    def expire(self, after: int) -> None:
        self.fake.add(First(self.fake.expire_iterators), operation="GetRecords", after=after % 4, times=1 + after % 3)

    def throttle_reads(self, seconds: int) -> None:
        self.fake.throttle(seconds, "GetRecords", "GetShardIterator")

    def empty_pages(self, count: int) -> None:
        self.fake.api.empty_pages = count

    def wait(self, seconds: int) -> None:
        self.fake.clock.advance(20 * seconds)

    def finish(self) -> None:
        """The faults are over: the rest is sent, and land and load come to their ends. All loads are accepted."""
        self.fake.clear()
        self.wait(2)
        while self.waiting:
            self.put(0)
        while land(self.settings).records:
            pass
        load(self.settings)
        accept_all(self.settings)

    def arrived(self) -> dict[str, list[int]]:
        """The numbers of each symbol in the order in which they arrived in the stream, repeats included."""
        shards = self.fake.api.streams[self.stream].shards.values()
        records = sorted((one.arrived, one.sequence, one.data) for shard in shards for one in shard.records)
        order: dict[str, list[int]] = {symbol: [] for symbol in SYMBOLS}
        for _, _, data in records:
            for event in map(orjson.loads, unpack(data) or [data]):
                order[event["symbol"]].append(event["payload"]["price"] - 100)
        return order


@pytest.fixture
def at(settings: Settings) -> Iterator[Fake]:
    with kinesis_fake(settings.model_copy(update={"batch_max_records": 15, "land_max_records": 40})) as at:
        yield at


@given(steps=st.lists(STEPS, min_size=3, max_size=14))
@example(steps=[("refuse", 7), PUT, ("refuse", 3), PUT, ("expire", 1), LAND, SEND, ("expire", 6), LAND])
@example(steps=[PUT, ("split_in_a_landing", 1), PUT, ("merge", 0), ("crash_land", 1), PUT, ("expire", 2), LAND])
@example(
    steps=[SEND, ("crash_land", 3), ("split", 0), ("lose_answers", 0), SEND, LAND, ("crash_load", 1), ("refuse", 3)]
)
@hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_in_between_every_record_is_landed_once_in_its_order_and_every_event_is_one_row(
    at: Fake, steps: list[Step]
) -> None:
    platform = Platform(at)
    for name, size in steps:
        getattr(platform, name)(size)
    platform.finish()
    assert landed_order(platform.at) == platform.arrived()
    rows = query(at, f"select vendor_id from raw.market_events where vendor_id like '{platform.stream}-%'")
    assert sorted(id_ for (id_,) in rows) == sorted(event.vendor_id for event in platform.made)
