"""A stream that is replaced while it is read is noticed before anything of it is written down, with few questions."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.errors import StreamError
from include.pipeline.land import land
from include.pipeline.same_stream import SameStream
from include.settings import Settings
from include.stream.consumer import StreamInfo
from tests.conftest import wait_until
from tests.faults.kinesis import First, kinesis_fake, one_clock
from tests.faults.kinesis_model import Clock
from tests.pipeline.streamed import drain, losses, numbers_in, put, query, run

MADE = datetime(2026, 1, 2, tzinfo=UTC)
STREAM = StreamInfo("events", MADE, timedelta(days=1), ())


class Kinesis:
    """Says when the stream was made, and keeps when it was asked (seconds)."""

    def __init__(self, clock: Clock, *, made: datetime = MADE) -> None:
        self.clock, self.made = clock, made
        self.asked: list[float] = []
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def describe_stream_summary(self, **_: Any) -> Any:
        self.asked.append(self.clock.monotonic())
        self.entered.set()
        assert self.go_on.wait(10)
        return {"StreamDescriptionSummary": {"StreamCreationTimestamp": self.made}}


def test_questions_in_a_row_are_at_least_a_fifth_of_a_second_apart() -> None:
    clock = Clock()
    with one_clock(clock):
        kinesis: Any = Kinesis(clock)
        same = SameStream()
        for _ in range(4):
            same.check(kinesis, STREAM)
    assert kinesis.asked == pytest.approx([0, 0.2, 0.4, 0.6])


def test_after_a_rest_nobody_waits() -> None:
    clock = Clock()
    with one_clock(clock):
        kinesis: Any = Kinesis(clock)
        same = SameStream()
        for _ in range(3):
            same.check(kinesis, STREAM)
            clock.advance(1)
    assert clock.slept == []


class CountingClock(Clock):
    looks = 0

    def monotonic(self) -> float:
        self.looks += 1
        return super().monotonic()


def test_one_answer_counts_for_all_threads_that_had_read_before_it_was_asked_for() -> None:
    clock = CountingClock()
    with one_clock(clock):
        kinesis: Any = Kinesis(clock)
        kinesis.go_on.clear()
        same = SameStream()
        first = threading.Thread(target=same.check, args=(kinesis, STREAM))
        first.start()
        assert kinesis.entered.wait(10)
        looks = clock.looks
        others = [threading.Thread(target=same.check, args=(kinesis, STREAM)) for _ in range(3)]
        for other in others:
            other.start()
        wait_until(lambda: clock.looks == looks + 3, 10, "all three have read, and wait for the first one's answer")
        kinesis.go_on.set()
        for thread in (first, *others):
            thread.join(10)
    assert kinesis.asked == pytest.approx([0, 0.2])  # the three ask once more, together


def test_another_stream_of_the_name_is_an_error_for_everybody_who_asks() -> None:
    clock = Clock()
    with one_clock(clock):
        kinesis: Any = Kinesis(clock, made=MADE + timedelta(hours=1))
        same = SameStream()
        for _ in range(2):
            with pytest.raises(StreamError, match="the stream events was made again at 2026-01-02T01:00:00"):
                same.check(kinesis, STREAM)


@pytest.mark.parametrize("pages", [1, 2, 3])
def test_a_stream_made_again_after_some_pages_gives_nothing_under_the_old_ones_name(
    make_settings: Callable[..., Settings], template_marts: str, pages: int
) -> None:
    settings = make_settings(template=template_marts, batch_max_records=10, audit_min_symbol_share=0.0)
    with kinesis_fake(settings) as at:
        fake, faked = at
        put(at, *range(40))
        old = datetime.fromtimestamp(fake.api.streams[faked.stream].created / 1000, UTC)

        def make_again() -> None:
            fake.make_again(faked.stream)
            put(at, *range(50, 58))

        fake.add(First(make_again), operation="GetShardIterator", after=pages)
        assert "was made again at" in run(at)
        whole = 10 * (pages - 1)  # the last object was still being packed
        under_old = f"select coalesce(sum(record_count), 0) from ops.stream_ranges where stream_created_at = '{old}'"
        assert query(at, under_old) == [(whole,)]
        drain(at)
        assert numbers_in(at) == [*range(whole), *range(50, 58)]
        assert any("was made again at" in said for said in losses(at)[0])


def test_a_long_landing_of_many_shards_asks_at_a_bounded_rate(
    make_settings: Callable[..., Settings], template_marts: str
) -> None:
    settings = make_settings(template=template_marts, batch_max_records=5)
    with kinesis_fake(settings, shards=4) as at:
        fake, faked = at
        put(at, *range(200))
        before, start = len(fake.seen), fake.clock.monotonic()
        assert land(faked).records == 200
        asked = [one.request.operation for one in fake.seen[before:]].count("DescribeStreamSummary")
        seconds = fake.clock.monotonic() - start
        assert asked >= 10  # 50 records of one symbol at least, 5 at a time
        assert asked <= 2 + 5 * seconds  # one when it began
