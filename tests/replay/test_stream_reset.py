"""The stream read again: from where it was asked for, under new keys, as duplicates; nothing left out, nothing lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from include.aws import client
from include.errors import ConfigError, LeaseHeldError
from include.pipeline.land import land
from include.pipeline.load import load
from include.pipeline.stream_reset import Place, ResetPlan, plan_reset, reset_stream, stream_status
from include.settings import Settings
from include.warehouse.db import connect
from include.warehouse.leases import lease
from tests.faults.kinesis import FakeKinesis, kinesis_fake
from tests.pipeline.streamed import Fake, accept_all, drain, killed_at, landed_order, losses, numbers_in, put, query
from tests.stream.helpers import SHARD

HORIZON = Place()


@pytest.fixture
def at(make_settings: Callable[..., Settings]) -> Iterator[Fake]:
    """The fake, and a platform that streams through it: one shard, objects of 4 records."""
    with kinesis_fake(make_settings(batch_max_records=4)) as (fake, settings):
        yield fake, settings


def now(fake: FakeKinesis) -> datetime:
    return datetime.fromtimestamp(fake.clock.time(), UTC)


def put_slowly(at: Fake, *numbers: int) -> None:
    """One record a second."""
    for number in numbers:
        put(at, number)
        at[0].clock.advance(1)


def sequences(at: Fake, shard: str = SHARD) -> list[str]:
    return [str(one.sequence) for one in at[0].api.streams[at[1].stream].shard(shard).records]


def shown(plan: ResetPlan) -> list[tuple[int, int, int, int]]:
    """Per shard that changes: ranges, records, events that were landed from there on, and records unread."""
    return [(one.known.ranges, one.known.records, one.known.events, one.unread) for one in plan.changed]


def again(at: Fake) -> list[int]:
    """The numbers that were landed twice or more, as often as they were landed too much."""
    landed = sorted(number for numbers in landed_order(at).values() for number in numbers)
    return [number for number, before in zip(landed[1:], landed, strict=False) if number == before]


def reading(at: Fake) -> list[str]:
    """What the keys of the landed objects end with: 'again' or the plain ones."""
    found = query(at, "select s3_key ~ '-again[0-9]+[.]jsonl' from ops.stream_ranges order by range_id")
    return ["again" if is_again else "first" for (is_again,) in found]


def test_from_a_sequence_number_on_everything_is_read_again_as_duplicates(at: Fake) -> None:
    put(at, *range(8))
    drain(at)
    place = Place(sequence=sequences(at)[5])

    assert shown(plan_reset(at[1], place)) == [(1, 4, 4, 0)]  # the second object, cut by that place
    reset_stream(at[1], place)
    put(at, 8, 9)
    drain(at)

    assert again(at) == [5, 6, 7]
    assert reading(at) == ["first", "first", "again", "first"] or reading(at) == ["first", "first", "again", "again"]
    assert numbers_in(at) == list(range(10))
    assert query(at, "select sum(duplicate_count) from ops.loads") == [(3,)]


def test_from_a_time_on_everything_is_read_again(at: Fake) -> None:
    put_slowly(at, *range(8))
    since = now(at[0]) - timedelta(seconds=3.5)
    drain(at)
    reset_stream(at[1], Place(timestamp=since))
    drain(at)
    assert again(at) == [5, 6, 7]
    assert numbers_in(at) == list(range(8))


def test_from_the_horizon_on_everything_that_the_stream_holds_is_read_again(at: Fake) -> None:
    put(at, *range(4))
    at[0].clock.advance(13 * 3600)
    put(at, *range(4, 8))
    drain(at)
    at[0].clock.advance(12 * 3600)  # the stream lets go of the first four
    (plan,) = plan_reset(at[1], HORIZON).shards
    assert (plan.trimmed.ranges, plan.trimmed.events) == (1, 4)
    reset_stream(at[1], HORIZON)
    drain(at)
    assert again(at) == [4, 5, 6, 7]
    assert numbers_in(at) == list(range(8))
    assert losses(at) == ([], [])


def test_a_preview_changes_nothing_and_counts_what_is_unread(at: Fake) -> None:
    put(at, *range(6))
    drain(at)
    put(at, 6, 7, 8)
    assert shown(plan_reset(at[1], HORIZON)) == [(2, 6, 6, 3)]
    drain(at)
    assert again(at) == [] and numbers_in(at) == list(range(9))


def test_reading_twice_again_gives_keys_of_its_own_each_time(at: Fake) -> None:
    put(at, *range(4))
    drain(at)
    for _ in range(3):
        reset_stream(at[1], HORIZON)
        drain(at)
    assert len(set(query(at, "select s3_key from ops.stream_ranges"))) == 4
    assert numbers_in(at) == list(range(4))
    assert query(at, "select sum(duplicate_count) from ops.loads") == [(12,)]


def test_a_position_that_is_set_back_can_be_set_back_further_but_not_forward(at: Fake) -> None:
    put(at, *range(8))
    drain(at)
    reset_stream(at[1], Place(sequence=sequences(at)[5]))
    reset_stream(at[1], Place(sequence=sequences(at)[2]))
    (plan,) = reset_stream(at[1], Place(sequence=sequences(at)[6])).shards
    assert plan.why == "it is set back so far already, and not read on since"
    drain(at)
    assert again(at) == [2, 3, 4, 5, 6, 7]
    assert numbers_in(at) == list(range(8))


def test_what_is_not_read_yet_cannot_be_left_out(at: Fake) -> None:
    put(at, *range(4))
    drain(at)
    put(at, *range(4, 8))
    with pytest.raises(ConfigError, match=r"is read up to \d+ only; a position is set back, never forward"):
        reset_stream(at[1], Place(sequence=sequences(at)[6]))
    at[0].clock.advance(1)
    assert reset_stream(at[1], Place(timestamp=now(at[0]))).changed == ()
    drain(at)
    assert numbers_in(at) == list(range(8))


def test_places_that_are_not_possible_are_refused_with_what_is(at: Fake) -> None:
    fake, settings = at
    put(at, *range(4))
    gone = sequences(at)[0]
    drain(at)
    fake.clock.advance(25 * 3600)
    put(at, *range(4, 8))
    drain(at)
    oldest = sequences(at)[0]
    number = str(int(oldest) + 1)
    for place, said in (
        (Place(timestamp=now(fake) - timedelta(hours=30)), r"holds nothing from .*--horizon.*quantstream replay"),
        (Place(timestamp=now(fake) + timedelta(hours=1)), r"lies in the future"),
        (Place(sequence=gone), rf"no longer holds {gone}: the oldest one that it holds is {oldest}"),
        (Place(sequence=number), rf"no record of .* has the number {number}; the next one is {sequences(at)[1]}"),
        (Place(sequence="9" * 57), rf"is no number of .*the oldest one that it holds is {oldest}"),
        (Place(sequence="abc"), r"'abc' is no sequence number"),
    ):
        with pytest.raises(ConfigError, match=rf"(?s){said}"):
            reset_stream(settings, place)
    with pytest.raises(ConfigError, match=rf"has no shard s-9; it has {SHARD}"):
        reset_stream(settings, HORIZON, shard_id="s-9")
    assert query(at, "select count(*) from ops.stream_resets") == [(0,)]


def test_a_shard_of_which_nothing_was_read_is_left_as_it_is(at: Fake) -> None:
    put(at, *range(4))
    plan = reset_stream(at[1], HORIZON)
    assert [one.why for one in plan.shards] == ["nothing of it was read yet"]
    drain(at)
    assert again(at) == [] and numbers_in(at) == list(range(4))


def test_a_resharded_stream_is_read_again_parents_before_children(at: Fake) -> None:
    fake, settings = at
    put(at, *range(12))
    drain(at)
    fake.split(settings.stream, SHARD)
    put(at, *range(12, 24))
    drain(at)
    with pytest.raises(ConfigError, match=r"a sequence number belongs to one shard: say which with --shard"):
        plan_reset(settings, Place(sequence=sequences(at)[0]))

    assert len(reset_stream(settings, HORIZON).changed) == 3
    drain(at)

    assert again(at) == list(range(24))
    order = landed_order(at)
    for numbers in order.values():
        middle = len(numbers) // 2
        assert numbers[:middle] == numbers[middle:] == sorted(numbers[:middle])
    assert numbers_in(at) == list(range(24))
    assert losses(at) == ([], [])


def test_one_shard_alone_is_read_again(at: Fake) -> None:
    fake, settings = at
    children = fake.split(settings.stream, SHARD)
    put(at, *range(12))
    drain(at)
    reset_stream(settings, HORIZON, shard_id=children[0])
    drain(at)
    held = {one.sequence for one in fake.api.streams[settings.stream].shard(children[0]).records}
    assert len(again(at)) == len(held) < 12
    assert numbers_in(at) == list(range(12))


def test_a_closed_shard_that_goes_before_it_is_read_again_is_no_loss(at: Fake) -> None:
    fake, settings = at
    put(at, *range(4))
    drain(at)
    fake.split(settings.stream, SHARD)
    put(at, *range(4, 8))
    drain(at)
    fake.clock.advance(20 * 3600)
    drain(at)
    reset_stream(settings, HORIZON, shard_id=SHARD)
    fake.clock.advance(5 * 3600)
    put(at, *range(8, 12))
    drain(at)
    assert losses(at)[1] == []
    assert numbers_in(at) == list(range(12))


def test_what_a_landing_had_promised_before_is_kept_and_does_not_move_the_position_forward(at: Fake) -> None:
    put(at, *range(8))
    with killed_at("after_intent"):
        land(at[1])
    reset_stream(at[1], HORIZON)  # one range is promised, none is landed
    land(at[1])
    with killed_at("after_load_commit"):
        load(at[1])  # the promised range is loaded, the ones after it not
    land(at[1])
    drain(at)
    assert numbers_in(at) == list(range(8))
    assert again(at) == [0, 1, 2, 3]


@pytest.mark.parametrize("point", ["before_reset_commit", "after_reset_commit"])
def test_killed_in_the_middle_it_is_done_for_all_shards_or_for_none(at: Fake, point: str) -> None:
    fake, settings = at
    fake.split(settings.stream, SHARD)
    put(at, *range(12))
    drain(at)
    with killed_at(point):
        reset_stream(settings, HORIZON)
    assert len(query(at, "select * from ops.stream_resets")) in ((0,) if point.startswith("before") else (2, 3))
    drain(at)
    assert again(at) == ([] if point.startswith("before") else list(range(12)))
    assert numbers_in(at) == list(range(12))


@pytest.mark.parametrize("point", ["before_intent", "after_intent", "before_put_object", "after_put_object"])
def test_a_landing_killed_while_it_reads_again_goes_on_there(at: Fake, point: str) -> None:
    put(at, *range(8))
    drain(at)
    reset_stream(at[1], HORIZON)
    with killed_at(point):
        land(at[1])
    drain(at)
    assert again(at) == list(range(8))
    assert numbers_in(at) == list(range(8))


def test_it_waits_for_a_landing_and_gives_up_in_the_end(at: Fake) -> None:
    put(at, *range(4))
    drain(at)
    waits: list[float] = []
    with connect(at[1]) as conn, lease(conn, "land", seconds=60), pytest.raises(LeaseHeldError):
        reset_stream(at[1], HORIZON, patience=1, sleep=waits.append)
    assert sum(waits) == pytest.approx(1, abs=0.25)
    with connect(at[1]) as conn:
        held = lease(conn, "land", seconds=60)
        held.__enter__()
        reset_stream(at[1], HORIZON, sleep=lambda _: held.__exit__(None, None, None))
    drain(at)
    assert again(at) == list(range(4))


def test_watermarks_do_not_go_back(at: Fake) -> None:
    from include.events import Event
    from include.stream.producer import put_records

    fake, settings = at
    time = now(fake)
    for number in range(4):
        until = time + timedelta(minutes=number)
        event = Event("simulator", "quote", "BTC-USD", time, str(number), {"price": 100 + number}, time, until)
        put_records(client(settings, "kinesis"), settings.stream, [("BTC-USD", event.to_json())])
    drain(at)
    before = query(at, "select * from ops.watermarks")
    assert before[0][1] > time
    reset_stream(settings, HORIZON)
    land(settings)
    load(settings)
    assert query(at, "select * from ops.watermarks") == before
    accept_all(settings)
    assert query(at, "select * from ops.watermarks") == before


def test_the_status_tells_the_position_and_what_is_unread_of_each_shard(at: Fake) -> None:
    put(at, *range(4))
    drain(at)
    put(at, 4, 5)
    (one,) = stream_status(at[1])
    assert (one.shard_id, one.position, one.unread, one.is_closed) == (SHARD, sequences(at)[3], 2, False)
    reset_stream(at[1], HORIZON)
    (one,) = stream_status(at[1])
    assert (one.position, one.unread, one.is_set_back) == (None, 6, True)


@pytest.mark.stack
def test_on_the_local_aws(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(batch_max_records=4)
    at = (None, settings)
    from tests.replay.minutes import quote, send

    send(settings, *(quote("BTC-USD", price, seconds=price) for price in range(8)))
    land(settings)
    load(settings)
    ((number,),) = query(at, "select from_sequence from ops.stream_ranges order by range_id offset 1")  # type: ignore[arg-type]
    reset_stream(settings, Place(sequence=number))
    land(settings)
    load(settings)
    accept_all(settings)
    ((arrived_at,),) = query(at, "select min(arrived_at) from ops.stream_ranges")  # type: ignore[arg-type]
    reset_stream(settings, Place(timestamp=arrived_at))
    land(settings)
    load(settings)
    accept_all(settings)
    counted = query(at, "select sum(inserted_count), sum(duplicate_count) from ops.loads")  # type: ignore[arg-type]
    assert counted == [(8, 12)]


@hypothesis_settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(["put", "land", "load", "reset", "split", "die"]), min_size=3, max_size=10))
def test_whatever_happens_in_which_order_every_event_is_there_once(
    make_settings: Callable[..., Settings], steps: list[str]
) -> None:
    with kinesis_fake(make_settings(batch_max_records=4)) as (fake, settings):
        at, count = (fake, settings), 0
        for step in steps:
            if step == "put":
                put(at, *range(count, count + 6))
                count += 6
            elif step == "land":
                land(settings)
            elif step == "load":
                load(settings)
            elif step == "reset":
                reset_stream(settings, HORIZON)
            elif step == "split":
                fake.split(settings.stream, fake.open_shards(settings.stream)[0])
            else:
                with killed_at("after_intent"):
                    land(settings)
            fake.clock.advance(10)
        drain(at)
        assert numbers_in(at) == list(range(count))
        assert losses(at)[1] == []
