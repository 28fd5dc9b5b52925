"""From the stream to the rows through all that Kinesis does to its readers: nothing lost silently, nothing doubled.

The stream is the Kinesis fake; the lake and the warehouse are real. Time is the fake's, so nothing waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from include.errors import StreamError
from include.events import Window
from include.pipeline.land import land
from include.pipeline.pull import pull
from include.settings import Settings
from tests.faults.kinesis import Afterwards, First, RefuseSome, kinesis_fake
from tests.faults.proxy import LoseAnswer
from tests.pipeline.streamed import (
    Fake,
    drain,
    in_order,
    killed_at,
    landed_order,
    losses,
    numbers_in,
    put,
    query,
    run,
)
from tests.stream.helpers import SHARD

HOUR = 3600.0


@pytest.fixture
def at(make_settings: Callable[..., Settings], template_marts: str) -> Iterator[Fake]:
    """The fake, and the settings of a platform that streams through it: objects of 10 records, one shard."""
    settings = make_settings(
        template=template_marts, batch_max_records=10, audit_min_symbol_share=0.0, stream_retention_hours=72
    )  # the audit takes events that the stream had long forgotten
    with kinesis_fake(settings) as (fake, faked):
        yield fake, faked


# Resharding


def test_a_split_and_a_merge_in_the_middle_of_a_run_lose_nothing_and_keep_each_symbols_order(at: Fake) -> None:
    fake, settings = at
    fake.api.page_records = 5
    put(at, *range(12))

    def split() -> None:
        fake.split(settings.stream, SHARD)
        put(at, *range(12, 24))

    fake.add(Afterwards(split), operation="GetRecords")
    assert run(at) == ""

    def merge() -> None:
        fake.merge(settings.stream, *fake.open_shards(settings.stream))
        put(at, *range(36, 48))

    put(at, *range(24, 36))
    fake.add(First(merge), operation="GetRecords", after=1)
    drain(at)
    assert len(fake.api.streams[settings.stream].shards) == 4
    assert numbers_in(at) == list(range(48))
    assert landed_order(at) == in_order(range(48))


@pytest.mark.parametrize("end_alone", [False, True])
def test_a_parent_is_drained_over_several_runs_before_its_children_are_read(
    make_settings: Callable[..., Settings], template_marts: str, end_alone: bool
) -> None:
    settings = make_settings(
        template=template_marts, batch_max_records=5, land_max_records=6, audit_min_symbol_share=0.0
    )
    with kinesis_fake(settings) as at:
        fake = at[0]
        fake.api.end_alone, fake.api.page_records = end_alone, 3
        put(at, *range(14))
        for _ in range(2):
            fake.split(settings.stream, fake.open_shards(settings.stream)[0])
        put(at, *range(14, 24))
        drain(at)
        assert numbers_in(at) == list(range(24))
        assert landed_order(at) == in_order(range(24))


def test_shards_doubled_and_halved_between_runs(at: Fake) -> None:
    fake, settings = at
    for n, shards in enumerate((2, 4, 3, 6, 3, 2)):
        put(at, *range(8 * n, 8 * n + 8))
        fake.patient(
            "UpdateShardCount", StreamName=settings.stream, TargetShardCount=shards, ScalingType="UNIFORM_SCALING"
        )
        if n % 2:
            land(settings)
    drain(at)
    assert numbers_in(at) == list(range(48))
    assert landed_order(at) == in_order(range(48))


# Another stream under the same name


@pytest.mark.parametrize("operation", ["ListShards", "GetShardIterator", "GetRecords"])
def test_a_stream_made_again_in_the_middle_of_a_run_is_read_and_what_it_took_with_it_is_said(
    at: Fake, operation: str
) -> None:
    fake, settings = at
    put(at, *range(8))
    assert run(at) == ""
    put(at, *range(8, 12))  # nobody reads these any more

    def make_again() -> None:
        fake.make_again(settings.stream)
        put(at, *range(20, 28))

    fake.add(Afterwards(make_again), operation=operation)
    run(at)
    put(at, *range(28, 32))
    drain(at)
    assert [n for n in numbers_in(at) if not 8 <= n < 12] == [*range(8), *range(20, 32)]
    said, alerts = losses(at)
    assert any("was made again at" in one for one in said)
    assert ("stream_loss", "warning") in alerts


def test_a_new_stream_that_is_replaced_before_its_first_read_is_read_once(at: Fake) -> None:
    fake, settings = at

    def make_again() -> None:
        fake.make_again(settings.stream)
        put(at, *range(10))

    fake.add(Afterwards(make_again), operation="ListShards")
    run(at)
    put(at, *range(10, 13))
    drain(at)
    assert numbers_in(at) == list(range(13))


def test_what_a_dead_process_had_promised_of_a_deleted_stream_is_counted_as_lost(at: Fake) -> None:
    fake, settings = at
    put(at, *range(8))
    with killed_at("after_intent"):
        land(settings)
    fake.make_again(settings.stream)
    put(at, *range(8, 12))
    assert "(8 records) can no longer be read" in run(at)
    drain(at)
    assert numbers_in(at) == [8, 9, 10, 11]
    assert query(at, "select record_count from ops.stream_ranges where state = 'lost'") == [(8,)]
    assert ("stream_loss", "critical") in losses(at)[1]


# What answers do


def test_iterators_that_expire_between_the_pages_lose_and_double_nothing(at: Fake) -> None:
    fake, _ = at
    fake.api.page_records = 4
    put(at, *range(30))
    for n in range(6):
        fake.add(First(fake.expire_iterators), operation="GetRecords", after=n)
    fake.add(First(lambda: fake.clock.advance(301)), operation="GetRecords", after=3)
    drain(at)
    assert numbers_in(at) == list(range(30))
    assert landed_order(at) == in_order(range(30))


@pytest.mark.parametrize("refused", [1, 250, 499])
def test_of_500_records_any_number_may_be_refused(
    make_settings: Callable[..., Settings], template_marts: str, refused: int
) -> None:
    settings = make_settings(template=template_marts, audit_min_symbol_share=0.0)
    with kinesis_fake(settings) as at:
        for n in (0, 2, 3):
            at[0].add(RefuseSome(refused, seed=n), operation="PutRecords", after=n)
        put(at, *range(500))
        drain(at)
        assert numbers_in(at) == list(range(500))


def test_an_acknowledgement_lost_after_the_call_was_applied_is_a_duplicate_that_is_dropped(at: Fake) -> None:
    fake, _ = at
    fake.add(LoseAnswer(), operation="PutRecords")
    put(at, *range(12))
    fake.add(LoseAnswer(), operation="GetRecords")
    drain(at)
    assert numbers_in(at) == list(range(12))
    assert query(at, "select sum(read_count), sum(duplicate_count) from ops.loads") == [(24, 12)]


def test_ten_minutes_of_throttling_are_an_error_in_time_and_then_everything_comes_in(at: Fake) -> None:
    fake, settings = at
    window = Window.minute_before(datetime.fromtimestamp(fake.clock.time(), UTC))
    before, start = settings.sources, fake.clock.monotonic()
    assert before == ["simulator"]
    fake.throttle(600)
    with pytest.raises(StreamError, match=r"did not take .* ProvisionedThroughputExceededException"):
        pull(settings, "simulator", window)
    assert "cannot be described" in run(at)
    assert fake.clock.monotonic() - start < 400  # both gave up while it lasted
    fake.clock.advance(600)
    report = pull(settings, "simulator", window)
    drain(at)
    rows = query(at, "select count(*), count(distinct (symbol, event_time, vendor_id)) from raw.market_events")
    assert rows == [(report.events, report.events)]
    told = query(at, "select step, ok from ops.outcomes where step in ('pull', 'land') order by outcome_id")
    assert told[:3] == [("pull", False), ("land", False), ("pull", True)]


def test_throttled_and_empty_reads_and_a_lying_lag_only_delay(at: Fake) -> None:
    fake, _ = at
    put(at, *range(20))
    fake.clock.advance(20)
    fake.api.empty_pages, fake.api.page_records = 5, 6
    fake.add(First(lambda: fake.throttle(4, "GetRecords", "GetShardIterator")), operation="GetRecords", after=2)
    assert run(at) == ""
    put(at, *range(20, 30))
    fake.api.behind = 0
    assert run(at) == ""
    fake.api.behind = None
    drain(at)
    assert numbers_in(at) == list(range(30))
    assert landed_order(at) == in_order(range(30))


# What the stream forgets


@pytest.mark.parametrize("trimmed", ["horizon", "refused"])
def test_records_trimmed_before_they_were_read_are_a_loss_that_is_said_and_the_rest_comes_in(
    at: Fake, trimmed: Any
) -> None:
    fake, _ = at
    fake.api.trimmed = trimmed
    put(at, *range(8))
    assert run(at) == ""
    put(at, *range(8, 12))  # gone before anyone looks
    fake.clock.advance(25 * HOUR)
    put(at, *range(12, 16))
    run(at)
    drain(at)
    assert numbers_in(at) == [*range(8), *range(12, 16)]
    said, alerts = losses(at)
    assert len(said) == 1, said
    assert "longer than it keeps records" in said[0]
    assert [rule for rule, _ in alerts] == ["stream_loss"]


def test_a_quiet_shard_from_which_nothing_was_trimmed_is_read_on_whatever_the_position(at: Fake) -> None:
    fake, _ = at
    fake.api.trimmed = "refused"
    put(at, *range(8))
    for _ in range(3):
        drain(at)
        fake.clock.advance(20 * HOUR)
    put(at, *range(8, 12))
    drain(at)
    assert numbers_in(at) == list(range(12))
    assert losses(at) == ([], [])


def test_a_closed_parent_that_expired_unread_is_a_loss_that_is_said(at: Fake) -> None:
    fake, settings = at
    put(at, *range(8))
    assert run(at) == ""
    put(at, *range(8, 12))
    fake.split(settings.stream, SHARD)
    fake.clock.advance(25 * HOUR)
    put(at, *range(12, 16))
    run(at)
    drain(at)
    assert numbers_in(at) == [*range(8), *range(12, 16)]
    said, alerts = losses(at)
    assert any(SHARD in one for one in said), said
    assert [rule for rule, _ in alerts] == ["stream_loss"]


def test_a_parent_that_was_read_to_its_end_may_expire_in_silence(at: Fake) -> None:
    fake, settings = at
    put(at, *range(8))
    fake.split(settings.stream, SHARD)
    drain(at)
    for n in range(3):
        fake.clock.advance(10 * HOUR)
        put(at, 8 + n)
        drain(at)
    assert SHARD not in fake.api.streams[settings.stream].shards
    assert numbers_in(at) == list(range(11))
    assert losses(at) == ([], [])


def test_a_child_that_expired_before_it_was_ever_read_is_a_loss_that_is_said(at: Fake) -> None:
    fake, settings = at
    put(at, *range(8))
    drain(at)
    left, right = fake.split(settings.stream, SHARD)
    put(at, *range(8, 16))
    fake.merge(settings.stream, left, right)
    fake.clock.advance(25 * HOUR)
    put(at, *range(16, 20))
    run(at)
    drain(at)
    assert numbers_in(at) == [*range(8), *range(16, 20)]
    said, alerts = losses(at)
    assert said
    assert [rule for rule, _ in alerts] == ["stream_loss"]


def test_records_trimmed_while_a_landing_is_at_them_are_a_loss_that_is_said(at: Fake) -> None:
    fake, _ = at
    drain(at)
    put(at, *range(24))
    fake.clock.advance(HOUR)
    put(at, 24, 25)
    fake.clock.advance(23 * HOUR - 60)  # the landing begins a minute before the first are forgotten
    fake.api.page_records = 5
    fake.add(First(lambda: fake.clock.advance(120)), operation="GetRecords", after=1)
    run(at)
    drain(at)
    assert numbers_in(at) == [*range(5), 24, 25]
    said, alerts = losses(at)
    assert said
    assert [rule for rule, _ in alerts] == ["stream_loss"]


def test_records_trimmed_before_the_first_landing_of_all_are_a_loss_that_is_said(at: Fake) -> None:
    fake, _ = at
    put(at, *range(4))
    fake.clock.advance(25 * HOUR)
    put(at, *range(4, 8))
    run(at)
    drain(at)
    assert numbers_in(at) == [4, 5, 6, 7]
    assert len(losses(at)[0]) == 1
    assert [rule for rule, _ in losses(at)[1]] == ["stream_loss"]


def test_a_landing_that_died_after_it_met_a_gap_leaves_the_next_one_to_say_it(at: Fake) -> None:
    fake, settings = at
    drain(at)
    put(at, *range(8))
    fake.clock.advance(HOUR)
    put(at, *range(8, 30))
    fake.clock.advance(23 * HOUR - 60)
    fake.api.page_records = 5
    fake.add(First(lambda: fake.clock.advance(120)), operation="GetRecords", after=1)
    with killed_at("after_put_object"):
        land(settings)
    assert losses(at)[1] == []
    drain(at)
    assert numbers_in(at) == [*range(5), *range(8, 30)]
    assert losses(at)[1] == [("stream_loss", "warning")]


def test_a_backlog_that_is_forgotten_faster_than_it_is_read_is_one_loss_in_each_landing(at: Fake) -> None:
    fake, settings = at
    drain(at)
    for n in range(0, 40, 4):
        put(at, *range(n, n + 4))
        fake.clock.advance(60)
    fake.clock.advance(24 * HOUR - 630)  # the first are forgotten in half a minute
    fake.api.page_records = 2
    fake.add(First(lambda: fake.clock.advance(50)), operation="GetRecords", after=1, times=5)
    land(settings)
    drain(at)
    assert numbers_in(at)[-8:] == list(range(32, 40))
    assert len(losses(at)[0]) == 1


def test_an_old_stream_that_is_empty_when_it_is_read_first_has_lost_nothing(at: Fake) -> None:
    fake, _ = at
    fake.clock.advance(100 * HOUR)
    fake.throttle(100, "GetRecords")
    assert "cannot be read" in run(at)
    fake.clock.advance(100 * HOUR)
    drain(at)
    put(at, *range(4))
    drain(at)
    assert numbers_in(at) == [0, 1, 2, 3]
    assert losses(at)[1] == []


def test_an_empty_shard_of_which_something_was_read_before_the_others_were_forgotten_is_a_loss_that_is_said(
    at: Fake,
) -> None:
    fake, settings = at
    put(at, *range(4))
    with killed_at("after_put_object"):
        land(settings)
    put(at, *range(4, 8))
    fake.clock.advance(25 * HOUR)
    drain(at)
    assert losses(at)[1] == [("stream_loss", "warning")]


def test_new_shards_of_an_old_stream_that_was_always_read_are_no_loss(at: Fake) -> None:
    fake, settings = at
    for n in range(3):
        put(at, n)
        drain(at)
        fake.clock.advance(20 * HOUR)
    left, right = fake.split(settings.stream, SHARD)
    put(at, *range(3, 9))
    drain(at)
    fake.merge(settings.stream, left, right)
    put(at, *range(9, 12))
    drain(at)
    assert numbers_in(at) == list(range(12))
    assert losses(at) == ([], [])


def test_records_trimmed_after_a_first_landing_that_died_are_a_loss_that_is_said(at: Fake) -> None:
    fake, settings = at
    put(at, *range(4))
    with killed_at("after_put_object"):
        land(settings)
    put(at, *range(4, 8))
    fake.clock.advance(25 * HOUR)
    put(at, *range(8, 12))
    run(at)
    drain(at)
    assert numbers_in(at) == [*range(4), *range(8, 12)]
    assert [rule for rule, _ in losses(at)[1]] == ["stream_loss"]


def test_a_promised_range_that_was_trimmed_is_counted_as_lost_and_its_rest_comes_in(at: Fake) -> None:
    fake, settings = at
    put(at, *range(4))
    fake.clock.advance(12 * HOUR)
    put(at, *range(4, 8))
    with killed_at("after_intent"):
        land(settings)
    fake.clock.advance(13 * HOUR)
    assert "can no longer be read" in run(at)
    drain(at)
    assert numbers_in(at) == [4, 5, 6, 7]
    assert query(at, "select sum(record_count) from ops.stream_ranges where state = 'lost'") != [(None,)]
    assert ("stream_loss", "critical") in losses(at)[1]
