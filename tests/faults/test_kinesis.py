"""The Kinesis fake against what AWS documents: records and iterators. Each test names the page it holds to."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from botocore.exceptions import ClientError, HTTPClientError

from tests.faults.kinesis import THROTTLED, FakeKinesis, First, RefuseSome
from tests.faults.kinesis_calls import FIRST, S, data, iterator, page, put, refused
from tests.faults.kinesis_model import HASH_KEYS, MIB
from tests.faults.proxy import Answer, LoseAnswer

# Records


def test_records_come_back_in_the_order_of_their_sequence_numbers_with_a_time_in_milliseconds(
    fake: FakeKinesis, kinesis: Any
) -> None:
    """GetRecords: sequential; ApproximateArrivalTimestamp has millisecond precision."""
    put(kinesis, b"1", b"2")
    kinesis.put_record(StreamName=S, PartitionKey="k", Data=b"3")
    answer = page(kinesis)
    assert data(answer) == [b"1", b"2", b"3"]
    numbers = [int(record["SequenceNumber"]) for record in answer["Records"]]
    assert numbers == sorted(set(numbers))
    assert all(len(str(number)) == 56 for number in numbers)
    first, _, last = (record["ApproximateArrivalTimestamp"] for record in answer["Records"])
    assert (last - first).total_seconds() == 0.001
    assert (answer["MillisBehindLatest"], answer["Records"][0]["PartitionKey"]) == (0, "k")


def test_a_key_goes_where_its_md5_says_or_where_it_is_told(fake: FakeKinesis, kinesis: Any) -> None:
    """PutRecords: MD5 maps keys to 128-bit integers, those to shards; ExplicitHashKey overrides."""
    kinesis.update_shard_count(StreamName=S, TargetShardCount=2, ScalingType="UNIFORM_SCALING")
    low, high = fake.open_shards(S)
    for key in ("AAPL", "MSFT", "BTC-USD", "ETH-USD", "GOOG"):
        place = int.from_bytes(hashlib.md5(key.encode(), usedforsecurity=False).digest(), "big")
        assert put(kinesis, b"x", key=key)[0]["ShardId"] == (low if place < HASH_KEYS // 2 else high)
    explicit = [put(kinesis, b"x", ExplicitHashKey=str(place))[0]["ShardId"] for place in (0, HASH_KEYS - 1)]
    assert explicit == [low, high]


@pytest.mark.parametrize(
    "records",
    [
        [{"PartitionKey": "k", "Data": b"x"}] * 501,
        [{"PartitionKey": "k", "Data": b"x" * MIB}],
        [{"PartitionKey": "kk", "Data": b"x" * (MIB - 2)}] * 11,
        [{"PartitionKey": "k" * 257, "Data": b"x"}],
    ],
    ids=["501 records", "a record over 1 MiB with its key", "over 10 MiB", "key of 257 characters"],
)
def test_a_request_beyond_the_limits_is_refused_as_a_whole(
    fake: FakeKinesis, kinesis: Any, records: list[dict[str, Any]]
) -> None:
    """PutRecords: 500 records, 10 MiB with keys. Quotas and limits: records of 1 MiB by default. Keys: 256."""
    with refused("InvalidArgumentException"):
        kinesis.put_records(StreamName=S, Records=[{"PartitionKey": "k", "Data": b"fine"}, *records][-501:])
    assert fake.held(S) == []


def test_larger_records_are_taken_once_the_stream_says_so(fake: FakeKinesis, kinesis: Any) -> None:
    """UpdateMaxRecordSize: up to 10 MiB; what a shard takes in a second stays the limit."""
    fake.do("UpdateMaxRecordSize", StreamName=S, MaxRecordSizeInKiB=2048)
    (answer,) = put(kinesis, b"x" * (MIB + 1))
    assert answer["ErrorCode"] == THROTTLED  # no InvalidArgumentException any more


def test_a_shard_takes_1000_records_a_second_and_the_others_fail_one_by_one(fake: FakeKinesis, kinesis: Any) -> None:
    """PutRecords: a record's failure does not stop the others; FailedRecordCount, ErrorCode, answers in order."""
    put(kinesis, *[b"%d" % n for n in range(500)])
    put(kinesis, *[b"%d" % n for n in range(500)])
    answer = kinesis.put_records(StreamName=S, Records=[{"PartitionKey": "k", "Data": b"%d" % n} for n in range(500)])
    taken = ["SequenceNumber" in one for one in answer["Records"]]
    assert 490 <= answer["FailedRecordCount"] == taken.count(False) < 500  # two milliseconds went by: two records
    assert {one.get("ErrorCode") for one in answer["Records"]} == {None, THROTTLED}
    assert FIRST in answer["Records"][-1]["ErrorMessage"]
    fake.clock.advance(1)
    assert all("SequenceNumber" in one for one in put(kinesis, *[b"x"] * 500))
    assert len(fake.held(S)) == 1500 + taken.count(True)


def test_a_shard_takes_1_mib_a_second_with_the_keys(fake: FakeKinesis, kinesis: Any) -> None:
    """Quotas and limits: writes up to 1 MB per second, keys included. PutRecord throws."""
    codes = [one.get("ErrorCode") for one in put(kinesis, b"x" * (MIB - 11), b"1234567890", b"123456789")]
    assert codes == [None, THROTTLED, None]
    with refused(THROTTLED):
        kinesis.put_record(StreamName=S, PartitionKey="k", Data=b"x" * 100_000)


# Iterators


def test_the_five_kinds_of_iterators(fake: FakeKinesis, kinesis: Any) -> None:
    """GetShardIterator: AT, AFTER, AT_TIMESTAMP (that or the next later record), TRIM_HORIZON, LATEST."""
    put(kinesis, b"1")
    fake.clock.advance(10)
    put(kinesis, b"2")
    fake.clock.advance(10)
    latest = iterator(kinesis, FIRST, "LATEST")
    put(kinesis, b"3")
    one, two, _ = (record for record in page(kinesis)["Records"])
    assert data(page(kinesis, FIRST, "AT_SEQUENCE_NUMBER", StartingSequenceNumber=two["SequenceNumber"])) == [
        b"2",
        b"3",
    ]
    fake.clock.advance(1)
    assert data(page(kinesis, FIRST, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=two["SequenceNumber"])) == [b"3"]
    after_one = one["ApproximateArrivalTimestamp"].timestamp() + 0.5
    assert data(page(kinesis, FIRST, "AT_TIMESTAMP", Timestamp=after_one)) == [b"2", b"3"]
    assert data(page(kinesis, FIRST, "AT_TIMESTAMP", Timestamp=1.0)) == [b"1", b"2", b"3"]
    assert data(kinesis.get_records(ShardIterator=latest)) == [b"3"]
    fake.clock.advance(1)
    with refused("InvalidArgumentException"):
        iterator(kinesis, FIRST, "AT_SEQUENCE_NUMBER")
    with refused("InvalidArgumentException"):
        iterator(kinesis, FIRST, "AT_TIMESTAMP", Timestamp=fake.clock.time() + 60)


def test_an_iterator_expires_after_five_minutes(fake: FakeKinesis, kinesis: Any) -> None:
    """GetShardIterator: expires 5 minutes after it is returned. GetRecords: ExpiredIteratorException."""
    put(kinesis, b"1")
    young, old = iterator(kinesis), iterator(kinesis)
    fake.clock.advance(299)
    assert data(kinesis.get_records(ShardIterator=young)) == [b"1"]
    fake.clock.advance(2)
    with refused("ExpiredIteratorException"):
        kinesis.get_records(ShardIterator=old)
    last = iterator(kinesis)
    fake.expire_iterators()
    with refused("ExpiredIteratorException"):
        kinesis.get_records(ShardIterator=last)


def test_the_next_iterator_goes_on_where_the_page_ended(fake: FakeKinesis, kinesis: Any) -> None:
    """GetRecords: NextShardIterator; Limit; MillisBehindLatest is 0 at the tip only."""
    put(kinesis, b"1", b"2", b"3")
    fake.clock.advance(5)
    first = page(kinesis, limit=2)
    second = kinesis.get_records(ShardIterator=first["NextShardIterator"])
    assert (data(first), data(second)) == ([b"1", b"2"], [b"3"])
    assert (first["MillisBehindLatest"] >= 5000, second["MillisBehindLatest"]) == (True, 0)
    assert data(kinesis.get_records(ShardIterator=second["NextShardIterator"])) == []
    with refused("InvalidArgumentException"):
        kinesis.get_records(ShardIterator="made up")


def test_pages_may_be_empty_and_small_although_records_follow(fake: FakeKinesis, kinesis: Any) -> None:
    """GetRecords: "It might take multiple calls to get to a portion of the shard that contains records"."""
    put(kinesis, b"1", b"2", b"3")
    fake.api.empty_pages, fake.api.page_records = 1, 2
    pages, token = [], iterator(kinesis)
    for _ in range(4):
        answer = kinesis.get_records(ShardIterator=token)
        pages.append((data(answer), answer["MillisBehindLatest"] > 0))
        token = answer["NextShardIterator"]
    assert pages == [([], True), ([b"1", b"2"], True), ([b"3"], False), ([], False)]


def test_a_shard_answers_five_reads_and_gives_five_iterators_a_second(fake: FakeKinesis, kinesis: Any) -> None:
    """GetRecords: five transactions per second per shard. GetShardIterator: too often is throttled as well."""
    token = iterator(kinesis)
    for _ in range(5):
        kinesis.get_records(ShardIterator=token)
    with refused(THROTTLED):
        kinesis.get_records(ShardIterator=token)
    for _ in range(4):
        iterator(kinesis)
    with refused(THROTTLED):
        iterator(kinesis)
    fake.clock.advance(0.25)
    kinesis.get_records(ShardIterator=iterator(kinesis))


def test_a_page_holds_10_mib_and_the_shard_then_rests_five_seconds(fake: FakeKinesis, kinesis: Any) -> None:
    """GetRecords: 10 MiB at most; subsequent calls within the next 5 seconds throw."""
    for _ in range(11):
        assert "ErrorCode" not in put(kinesis, b"x" * (MIB - 1))[0]
        fake.clock.advance(1)
    answer = page(kinesis)
    assert len(answer["Records"]) == 10
    fake.clock.advance(4.9)
    with refused(THROTTLED):
        kinesis.get_records(ShardIterator=answer["NextShardIterator"])
    fake.clock.advance(0.1)
    assert len(kinesis.get_records(ShardIterator=answer["NextShardIterator"])["Records"]) == 1


# Faults on purpose


def test_a_span_of_throttling_ends_by_the_clock(fake: FakeKinesis, kinesis: Any) -> None:
    fake.throttle(600, "PutRecords")
    with refused(THROTTLED):
        put(kinesis, b"1")
    assert data(page(kinesis)) == []
    fake.clock.advance(600)
    put(kinesis, b"2")
    fake.throttle(10)
    with refused(THROTTLED):
        iterator(kinesis)


def test_the_faults_of_the_proxy_work_on_kinesis(fake: FakeKinesis, kinesis: Any) -> None:
    fake.add(LoseAnswer(), operation="PutRecords")
    with pytest.raises(HTTPClientError):
        put(kinesis, b"applied")
    fake.add(Answer(503, b"{}"), operation="PutRecords")
    with pytest.raises(ClientError, match="503"):
        put(kinesis, b"not applied")
    fake.add(RefuseSome(2, seed=1), operation="PutRecords")
    codes = [one.get("ErrorCode") for one in put(kinesis, b"1", b"2", b"3")]
    assert (codes.count(THROTTLED), codes.count(None)) == (2, 1)
    fake.add(First(fake.expire_iterators), operation="GetRecords")
    with refused("ExpiredIteratorException"):
        page(kinesis)
    assert fake.held(S)[0] == b"applied"
    assert len(fake.held(S)) == 2
    assert [seen.fault for seen in fake.seen if seen.fault] == ["LoseAnswer", "Answer", "RefuseSome", "First"]
