"""Producer and consumer against a Kinesis that throttles, forgets, reshards and takes parts, as the real one does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from include.aws import client
from include.errors import StreamError
from include.settings import Settings
from include.stream.aggregate import unpack
from include.stream.consumer import RecordsGoneError, describe, read_batch, read_range
from include.stream.producer import put_records
from tests.faults.kinesis import THROTTLED, Afterwards, FakeKinesis, First, RefuseSome, one_clock
from tests.faults.kinesis_model import MIB
from tests.faults.proxy import Answer, LoseAnswer
from tests.stream.helpers import SHARD, single_shot

S = "s"


@pytest.fixture
def fake() -> Iterator[FakeKinesis]:
    with FakeKinesis() as fake, one_clock(fake.clock):
        fake.do("CreateStream", StreamName=S, ShardCount=1)
        yield fake


@pytest.fixture
def kinesis(fake: FakeKinesis) -> Any:
    return client(Settings(_env_file=None, aws_endpoint_url=fake.url), "kinesis")


def pairs(count: int, keys: int | None = None, start: int = 0) -> list[tuple[str, bytes]]:
    """`count` different records, of as many keys or fewer."""
    return [(f"K{n % (keys or count)}", b'{"n":%d}' % n) for n in range(start, start + count)]


def arrived(fake: FakeKinesis) -> list[bytes]:
    """What was put, as it lies in the stream: shard by shard, what was packed together taken apart."""
    return [one for data in fake.held(S) for one in unpack(data) or [data]]


def read_all(kinesis: Any, shard: str = SHARD, after: str | None = None) -> list[bytes]:
    return [record.data for record in read_batch(kinesis, S, shard, after, 100_000, 1 << 30).records]


@pytest.mark.parametrize("count", [1, 2, 3, 50, 249, 250, 251, 400, 498, 499])
def test_the_refused_of_500_arrive_all_the_same_and_nothing_is_doubled(
    fake: FakeKinesis, kinesis: Any, count: int
) -> None:
    fake.add(RefuseSome(count, seed=count), operation="PutRecords")
    report = put_records(kinesis, S, pairs(500))
    assert (report.sent, report.failed) == (500, [])
    assert Counter(arrived(fake)) == Counter(data for _, data in pairs(500))


@given(counts=st.lists(st.integers(0, 499), min_size=1, max_size=5), seed=st.integers(0, 9))
@hypothesis_settings(max_examples=12, deadline=None)
def test_whatever_part_is_refused_time_after_time_all_arrive_once(counts: list[int], seed: int) -> None:
    with FakeKinesis() as fake, one_clock(fake.clock):
        fake.do("CreateStream", StreamName=S, ShardCount=4)
        for n, count in enumerate(counts):
            code = (THROTTLED, "InternalFailure")[(n + seed) % 2]
            fake.add(RefuseSome(count, seed + n, code), operation="PutRecords")
        kinesis = client(Settings(_env_file=None, aws_endpoint_url=fake.url), "kinesis")
        report = put_records(kinesis, S, pairs(700))
        assert (report.sent, report.failed) == (700, [])
        assert Counter(arrived(fake)) == Counter(data for _, data in pairs(700))


def test_more_than_a_shard_takes_is_sent_as_fast_as_it_takes_it_in_the_order_of_each_request(
    fake: FakeKinesis, kinesis: Any
) -> None:
    report = put_records(kinesis, S, pairs(4000))
    assert (report.sent, report.failed) == (4000, [])
    assert Counter(arrived(fake)) == Counter(data for _, data in pairs(4000))
    assert 3 <= fake.clock.monotonic() < 12  # a thousand a second after the first thousand, and some waiting


def test_large_records_share_the_mebibyte_a_second(fake: FakeKinesis, kinesis: Any) -> None:
    records = [(f"K{n}", b"%d" % n + b"x" * (MIB // 2 - 100)) for n in range(8)]
    assert put_records(kinesis, S, records).sent == 8
    assert Counter(fake.held(S)) == Counter(data for _, data in records)


def test_ten_minutes_of_throttling_end_the_call_in_time_and_the_repetition_completes(
    fake: FakeKinesis, kinesis: Any
) -> None:
    fake.throttle(600, "PutRecords")
    report = put_records(kinesis, S, pairs(600))
    assert report.sent == 0
    assert len(report.failed) == 600
    assert {failed.error_code for failed in report.failed} <= {THROTTLED, "NotSent"}
    assert fake.clock.monotonic() < 300
    assert fake.held(S) == []
    fake.clock.advance(600)
    assert put_records(kinesis, S, pairs(600)).sent == 600
    assert Counter(arrived(fake)) == Counter(data for _, data in pairs(600))


def test_an_acknowledgement_lost_after_the_call_was_applied_doubles_rather_than_loses(
    fake: FakeKinesis, kinesis: Any
) -> None:
    fake.add(LoseAnswer(), operation="PutRecords")
    assert put_records(kinesis, S, pairs(3)).sent == 3
    assert Counter(arrived(fake)) == Counter(data for _, data in pairs(3) * 2)


def test_a_split_between_two_requests_loses_nothing(fake: FakeKinesis, kinesis: Any) -> None:
    fake.add(First(lambda: fake.split(S, SHARD)), operation="PutRecords", after=1)
    assert put_records(kinesis, S, pairs(900)).sent == 900
    assert len(fake.api.streams[S].shards) == 3
    assert Counter(arrived(fake)) == Counter(data for _, data in pairs(900))


def test_a_stream_that_goes_away_in_the_middle_is_an_error_that_says_how_far_it_came(
    fake: FakeKinesis, kinesis: Any
) -> None:
    fake.add(First(lambda: fake.do("DeleteStream", StreamName=S)), operation="PutRecords", after=1)
    with pytest.raises(StreamError, match=r"the stream s takes no records \(500 were sent before\)"):
        put_records(kinesis, S, pairs(900))


# Reading


def test_iterators_that_expire_between_pages_are_replaced_behind_the_last_record(
    fake: FakeKinesis, kinesis: Any
) -> None:
    put_records(kinesis, S, pairs(60))
    fake.api.page_records = 7
    for after in (0, 1, 0, 2):
        fake.add(First(fake.expire_iterators), operation="GetRecords", after=after)
    fake.add(First(lambda: fake.clock.advance(301)), operation="GetRecords", after=1)
    assert read_all(kinesis) == [data for _, data in pairs(60)]
    assert sum(seen.operation == "GetShardIterator" for seen in fake.seen) == 6


def test_empty_pages_small_pages_and_throttled_reads_are_read_over(fake: FakeKinesis, kinesis: Any) -> None:
    put_records(kinesis, S, pairs(40))
    fake.clock.advance(60)
    fake.api.empty_pages, fake.api.page_records = 6, 3
    fake.add(First(lambda: fake.throttle(3, "GetRecords")), operation="GetRecords", after=2)
    fake.add(Answer(500, b"{}"), operation="GetRecords", after=3)
    fake.add(LoseAnswer(), operation="GetRecords", after=4)
    assert read_all(kinesis) == [data for _, data in pairs(40)]


def test_ten_minutes_of_throttled_reads_end_in_time_with_an_error(fake: FakeKinesis, kinesis: Any) -> None:
    put_records(kinesis, S, pairs(3))
    fake.throttle(600, "GetRecords")
    with pytest.raises(StreamError, match=f"s/{SHARD} cannot be read"):
        read_all(kinesis)
    assert fake.clock.monotonic() < 300
    fake.clock.advance(600)
    assert read_all(kinesis) == [data for _, data in pairs(3)]


def test_a_page_that_lies_about_being_the_last_ends_the_batch_and_the_next_goes_on(
    fake: FakeKinesis, kinesis: Any
) -> None:
    put_records(kinesis, S, pairs(10))
    fake.api.behind, fake.api.page_records = 0, 4
    batch = read_batch(kinesis, S, SHARD, None, 1000, 1 << 20)
    rest = read_batch(kinesis, S, SHARD, batch.records[-1].sequence_number, 1000, 1 << 20)
    fake.api.behind = None
    last = read_all(kinesis, after=rest.records[-1].sequence_number)
    assert [one.data for one in batch.records + rest.records] + last == [data for _, data in pairs(10)]


@pytest.mark.parametrize("end_alone", [False, True])
def test_a_split_parent_ends_and_its_children_follow(fake: FakeKinesis, kinesis: Any, end_alone: bool) -> None:
    fake.api.end_alone = end_alone
    put_records(kinesis, S, pairs(20, keys=5))
    fake.split(S, SHARD)
    put_records(kinesis, S, pairs(20, keys=5, start=20))
    merged = fake.merge(S, *fake.open_shards(S))
    put_records(kinesis, S, pairs(20, keys=5, start=40))
    stream = describe(kinesis, S)
    assert (stream.shards[0].shard_id, stream.shards[-1].shard_id) == (SHARD, merged)
    assert [shard.closed for shard in stream.shards] == [True, True, True, False]
    read: list[tuple[str, bytes]] = []
    for shard in stream.shards:
        batch = read_batch(kinesis, S, shard.shard_id, None, 1000, 1 << 20)
        after = batch.records[-1].sequence_number
        closed = batch.closed or read_batch(kinesis, S, shard.shard_id, after, 1000, 1 << 20).closed
        assert closed == shard.closed
        read += [(one.partition_key, one.data) for one in batch.records]
    for key in {key for key, _ in read}:
        assert [data for of, data in read if of == key] == [data for of, data in pairs(60, keys=5) if of == key]
    assert len(read) == 60


def test_a_shard_that_is_split_while_it_is_read_is_read_to_its_end(fake: FakeKinesis, kinesis: Any) -> None:
    put_records(kinesis, S, pairs(9))
    fake.api.page_records = 4
    fake.add(Afterwards(lambda: fake.split(S, SHARD)), operation="GetRecords")
    batch = read_batch(kinesis, S, SHARD, None, 1000, 1 << 20)
    assert ([one.data for one in batch.records], batch.closed) == ([data for _, data in pairs(9)], True)


def test_a_list_of_shards_in_many_pages_is_read_whole(fake: FakeKinesis, kinesis: Any) -> None:
    for count in (2, 4, 8):
        fake.patient("UpdateShardCount", StreamName=S, TargetShardCount=count, ScalingType="UNIFORM_SCALING")
    real = fake.api._list_shards
    fake.api._list_shards = lambda asked, now: real(asked | {"MaxResults": 4}, now)  # type: ignore[method-assign]
    assert len(describe(kinesis, S).shards) == 15
    assert sum(seen.operation == "ListShards" for seen in fake.seen) == 4


@pytest.mark.parametrize("trimmed", ["horizon", "refused"])
def test_a_range_that_was_trimmed_is_gone_and_not_something_else(fake: FakeKinesis, kinesis: Any, trimmed: Any) -> None:
    put_records(kinesis, S, pairs(4))
    records = read_batch(kinesis, S, SHARD, None, 1000, 1 << 20).records
    fake.clock.advance(25 * 3600)
    put_records(kinesis, S, pairs(2, start=4))
    fake.api.trimmed = trimmed
    with pytest.raises(RecordsGoneError):
        read_range(kinesis, S, SHARD, records[0].sequence_number, records[-1].sequence_number)


def test_a_range_is_read_again_through_expiry_and_small_pages(fake: FakeKinesis, kinesis: Any) -> None:
    put_records(kinesis, S, pairs(30))
    records = read_batch(kinesis, S, SHARD, None, 1000, 1 << 20).records
    fake.api.page_records, fake.api.empty_pages = 4, 2
    fake.add(First(fake.expire_iterators), operation="GetRecords", after=4)
    again = read_range(kinesis, S, SHARD, records[3].sequence_number, records[20].sequence_number)
    assert again.records == records[3:21]


def test_a_single_attempt_shows_that_the_fakes_refusals_are_aws_own(fake: FakeKinesis) -> None:
    kinesis = single_shot(Settings(_env_file=None, aws_endpoint_url=fake.url))
    fake.throttle(1)
    with pytest.raises(kinesis.exceptions.ProvisionedThroughputExceededException):
        kinesis.list_shards(StreamName=S)
