"""A source is complete up to a time once all that arrived before it said so is accepted, in whatever shard it lies."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from include.aws import client
from include.events import Event
from include.pipeline.land import land
from include.pipeline.load import load
from include.pipeline.sending import send
from include.settings import Settings
from include.sources.base import Batch
from include.warehouse.db import connect
from include.warehouse.leases import lease
from include.warehouse.ledger import accept, landed_loads, reject, release_watermarks
from tests.faults.kinesis import First, RefuseSome, kinesis_fake
from tests.pipeline.streamed import Fake, query

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
SYMBOLS = [f"{name}-USD" for name in ("BTC", "ETH", "SOL", "XRP", "ADA", "DOT", "LTC", "BCH", "UNI", "ICP")]
WATERMARK = "select complete_until from ops.watermarks where source = 'simulator'"


class Minutes:
    """A stream of its own in the shared fake; each minute of quotes says when the source is complete."""

    def __init__(self, at: Fake, shards: int = 2) -> None:
        self.fake = at[0]
        self.stream = f"s-{uuid.uuid4().hex[:8]}"
        self.settings = at[1].model_copy(update={"stream": self.stream})
        self.sent: dict[datetime, set[str]] = {}
        self.fake.clear()
        self.fake.patient("CreateStream", StreamName=self.stream, ShardCount=shards)
        with connect(self.settings) as conn:
            conn.execute(
                "truncate raw.market_events, raw.landed_events, ops.loads, ops.stream_ranges, ops.shard_reads, "
                "ops.watermarks, ops.pending_watermarks"
            )

    def send(self, count: int) -> None:
        """A minute of `count` quotes; the last one says that they are all."""
        chance = random.Random(count)
        start = NOON + timedelta(minutes=len(self.sent))
        end = start + timedelta(minutes=1)
        ids = [f"{self.stream}-{len(self.sent)}-{n}" for n in range(count)]
        events = [
            Event("simulator", "quote", chance.choice(SYMBOLS), start, one, {"price": n}, start, complete_until=end)
            for n, one in enumerate(ids)
        ]
        send(client(self.settings, "kinesis"), self.stream, Batch(events, list(range(count))))
        self.sent[end] = set(ids)

    def send_in_a_landing(self, after: int) -> None:
        self.fake.add(First(lambda: self.send(7)), operation="GetRecords", after=after % 5)
        self.land()

    def land_in_a_sending(self, count: int) -> None:
        """The stream refuses some of a minute; before they go again, everything else comes all the way in."""
        self.fake.add(RefuseSome(3, seed=count), operation="PutRecords")
        self.fake.add(First(lambda: (self.run(), self.run())), operation="PutRecords", after=1)
        self.send(count)

    def split_in_a_landing(self, after: int) -> None:
        self.fake.add(First(lambda: self.split(after)), operation="GetRecords", after=after % 5)
        self.land()

    def land(self, _: int = 0) -> int:
        self.fake.clock.advance(0.01)
        return land(self.settings).events

    def load(self, _: int = 0) -> None:
        load(self.settings)

    def run(self, _: int = 0) -> None:
        self.land()
        self.load()
        self.accept_all()

    def run_late(self, _: int = 0) -> None:
        """What is landed when the load is under way waits for the next one."""
        self.load()
        self.land()
        self.accept_all()

    def accept(self, which: int) -> None:
        """One of the loads that wait, not always the oldest."""
        with connect(self.settings) as conn, lease(conn, "audit", seconds=60) as held:
            if waiting := landed_loads(conn):
                accept(conn, held, waiting[which % len(waiting)].load_id)

    def accept_all(self, _: int = 0) -> None:
        with connect(self.settings) as conn, lease(conn, "audit", seconds=60) as held:
            for one in landed_loads(conn):
                accept(conn, held, one.load_id)
            release_watermarks(conn, held)

    def split(self, which: int) -> None:
        shards = self.fake.open_shards(self.stream)
        if len(shards) < 5:
            self.fake.split(self.stream, shards[which % len(shards)])

    def merge(self, which: int) -> None:
        shards = self.fake.open_shards(self.stream)
        if len(shards) > 1:
            place = which % (len(shards) - 1)
            self.fake.merge(self.stream, shards[place], shards[place + 1])

    def wait(self, seconds: int) -> None:
        self.fake.clock.advance(seconds)

    def complete_until(self) -> datetime | None:
        found = query((self.fake, self.settings), WATERMARK)
        return found[0][0] if found else None

    def missing(self) -> set[str]:
        """What was sent for the minutes that count as complete, and is not accepted."""
        until = self.complete_until()
        due = {one for end, ids in self.sent.items() if until is not None and end <= until for one in ids}
        return due - {one for (one,) in query((self.fake, self.settings), "select vendor_id from raw.market_events")}


@pytest.fixture
def at(settings: Settings) -> Iterator[Fake]:
    with kinesis_fake(settings.model_copy(update={"batch_max_records": 3, "land_max_records": 10})) as at:
        yield at


STEPS = st.tuples(
    st.sampled_from(
        ["send", "send", "run", "run", "run_late", "land", "load", "accept", "split", "merge", "wait",
         "send_in_a_landing", "land_in_a_sending", "split_in_a_landing"]
    ),
    st.integers(1, 20),
)  # fmt: skip


@given(steps=st.lists(STEPS, min_size=4, max_size=12), shards=st.integers(1, 3))
@example([("send", 16), ("run", 0), ("run_late", 0)], 2)  # the other shard is not read, then not loaded
@example([("send", 16), ("run", 0), ("land", 0), ("load", 0), ("accept", 0), ("accept", 0)], 2)
@example([("land_in_a_sending", 16), ("run", 0), ("run", 0)], 2)
@example([("send", 9), ("split", 0), ("send", 9), ("run", 0), ("run", 0), ("run_late", 0)], 2)
@hypothesis_settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_minute_is_never_complete_before_all_its_events_are_accepted_and_in_the_end_every_one_is(
    at: Fake, steps: list[tuple[str, int]], shards: int
) -> None:
    minutes = Minutes(at, shards)
    for name, number in steps:
        getattr(minutes, name)(number)
        assert minutes.missing() == set()
    minutes.fake.clear()
    minutes.wait(10)
    while minutes.land():
        pass
    minutes.load()
    minutes.accept_all()
    assert minutes.missing() == set()
    assert minutes.complete_until() == max(minutes.sent, default=None)


def test_a_shard_that_is_behind_holds_the_minute_back_until_it_is_read(at: Fake) -> None:
    minutes = Minutes(at)
    minutes.send(16)  # some 10 of them are taken at a time
    minutes.land()
    minutes.load()
    minutes.accept_all()
    assert minutes.complete_until() is None
    minutes.land()
    minutes.load()
    minutes.accept_all()
    assert minutes.complete_until() == NOON + timedelta(minutes=1)


def test_a_load_that_waits_for_its_audit_holds_the_minute_back_and_a_rejected_one_does_not(at: Fake) -> None:
    minutes = Minutes(at)
    minutes.send(6)
    minutes.land()
    minutes.load()
    with connect(minutes.settings) as conn, lease(conn, "audit", seconds=60) as held:
        waiting = [one.load_id for one in landed_loads(conn)]
        marked: Any = conn.execute("select load_id from ops.pending_watermarks").fetchone()
        first = next(one for one in waiting if one != marked[0])
        for one in waiting:
            if one != first:
                accept(conn, held, one)
        assert minutes.complete_until() is None
        reject(conn, held, first, [])
        release_watermarks(conn, held)
    assert minutes.complete_until() == NOON + timedelta(minutes=1)


def test_an_empty_shard_that_is_read_later_lets_go_of_the_minute_without_a_new_load(at: Fake) -> None:
    minutes = Minutes(at)
    minutes.send(4)
    with connect(minutes.settings) as conn:
        minutes.land()
        conn.execute("update ops.shard_reads set read_until = %s", [NOON])  # as if nobody had looked since
    minutes.load()
    minutes.accept_all()
    assert minutes.complete_until() is None
    minutes.land()
    minutes.accept_all()
    assert minutes.complete_until() == NOON + timedelta(minutes=1)
