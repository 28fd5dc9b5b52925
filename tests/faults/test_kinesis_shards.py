"""The Kinesis fake against what AWS documents: shards, retention, the life of a stream. Each test names the page."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.kinesis import FakeKinesis
from tests.faults.kinesis_calls import FIRST, S, data, iterator, page, put, refused, shards, status
from tests.faults.kinesis_model import HASH_KEYS

# Resharding


def test_a_split_closes_the_parent_which_stays_readable_and_fills_the_children(fake: FakeKinesis, kinesis: Any) -> None:
    """SplitShard. Developer guide, after a reshard: records before it stay in the parent, CLOSED; later ones in the
    children. GetRecords: null in NextShardIterator, and ChildShards, at the end of a closed shard."""
    put(kinesis, b"before")
    left, right = fake.split(S, FIRST)
    put(kinesis, b"after", ExplicitHashKey="0")
    put(kinesis, b"after too", ExplicitHashKey=str(HASH_KEYS - 1))
    parent = page(kinesis)
    assert data(parent) == [b"before"]
    assert "NextShardIterator" not in parent
    assert [(child["ShardId"], child["ParentShards"]) for child in parent["ChildShards"]] == [
        (left, [FIRST]), (right, [FIRST]),
    ]  # fmt: skip
    assert [data(page(kinesis, shard)) for shard in (left, right)] == [[b"after"], [b"after too"]]
    closed, first, second = kinesis.list_shards(StreamName=S)["Shards"]
    assert (first["ParentShardId"], second["ParentShardId"]) == (FIRST, FIRST)
    assert int(closed["SequenceNumberRange"]["EndingSequenceNumber"]) > int(parent["Records"][0]["SequenceNumber"])
    assert "EndingSequenceNumber" not in first["SequenceNumberRange"]
    ranges = [(int(one["HashKeyRange"]["StartingHashKey"]), int(one["HashKeyRange"]["EndingHashKey"]))
              for one in (first, second)]  # fmt: skip
    assert ranges == [(0, HASH_KEYS // 2 - 1), (HASH_KEYS // 2, HASH_KEYS - 1)]


def test_the_end_of_a_closed_shard_may_come_on_a_page_of_its_own(fake: FakeKinesis, kinesis: Any) -> None:
    """GetRecords: a null NextShardIterator says that the iterator gives nothing more, not on which page."""
    put(kinesis, b"1")
    fake.split(S, FIRST)
    fake.api.end_alone = True
    answer = page(kinesis)
    assert (data(answer), "ChildShards" in answer) == ([b"1"], False)
    last = kinesis.get_records(ShardIterator=answer["NextShardIterator"])
    assert (data(last), "NextShardIterator" in last, len(last["ChildShards"])) == ([], False, 2)


def test_a_merge_of_two_neighbours_is_one_child_with_two_parents(fake: FakeKinesis, kinesis: Any) -> None:
    """MergeShards: contiguous hash keys; the child takes all of both. Children's sequence numbers come later."""
    left, right = fake.split(S, FIRST)
    (before,) = put(kinesis, b"before", ExplicitHashKey="0")
    child = fake.merge(S, right, left)
    (after,) = put(kinesis, b"after", ExplicitHashKey="0")
    assert (before["ShardId"], after["ShardId"]) == (left, child)
    assert int(after["SequenceNumber"]) > int(before["SequenceNumber"])
    (listed,) = kinesis.list_shards(StreamName=S, ShardFilter={"Type": "AT_LATEST"})["Shards"]
    assert (listed["ParentShardId"], listed["AdjacentParentShardId"]) == (right, left)
    assert [one["ShardId"] for one in page(kinesis, left)["ChildShards"]] == [child]


def test_what_cannot_be_split_or_merged_is_refused(fake: FakeKinesis, kinesis: Any) -> None:
    """SplitShard, MergeShards: the new hash key must lie in the shard, two shards must touch, be open and exist."""
    with refused("InvalidArgumentException"):
        kinesis.split_shard(StreamName=S, ShardToSplit=FIRST, NewStartingHashKey="0")
    with refused("ResourceNotFoundException"):
        kinesis.split_shard(StreamName=S, ShardToSplit="shardId-000000000099", NewStartingHashKey="7")
    left, right = fake.split(S, FIRST)
    far = fake.split(S, right)[1]
    with refused("InvalidArgumentException"):
        kinesis.merge_shards(StreamName=S, ShardToMerge=left, AdjacentShardToMerge=far)
    fake.clock.advance(1)
    with refused("ResourceInUseException"):
        kinesis.merge_shards(StreamName=S, ShardToMerge=left, AdjacentShardToMerge=right)


def test_scaling_makes_shards_of_equal_size_and_at_most_doubles_or_halves(fake: FakeKinesis, kinesis: Any) -> None:
    """UpdateShardCount: uniform; not more than double, not below half, ten times in 24 hours."""
    for count in (2, 3, 6, 4):
        kinesis.update_shard_count(StreamName=S, TargetShardCount=count, ScalingType="UNIFORM_SCALING")
        sizes = [shard.last - shard.first + 1 for shard in fake.api.streams[S].open]
        assert len(sizes) == count
        assert max(sizes) - min(sizes) <= 1
        assert sum(sizes) == HASH_KEYS
    for count in (1, 9):
        with refused("LimitExceededException"):
            kinesis.update_shard_count(StreamName=S, TargetShardCount=count, ScalingType="UNIFORM_SCALING")


def test_resharding_takes_time_in_which_the_stream_works_on(fake: FakeKinesis, kinesis: Any) -> None:
    """SplitShard: asynchronous, UPDATING; reads and writes go on; another one meanwhile is ResourceInUseException."""
    fake.api.streams[S].settling = 30
    kinesis.split_shard(StreamName=S, ShardToSplit=FIRST, NewStartingHashKey="7")
    assert status(kinesis) == "UPDATING"
    assert put(kinesis, b"meanwhile")[0]["ShardId"] == FIRST
    with refused("ResourceInUseException"):
        kinesis.split_shard(StreamName=S, ShardToSplit=FIRST, NewStartingHashKey="8")
    fake.clock.advance(30)
    assert status(kinesis) == "ACTIVE"
    assert put(kinesis, b"after")[0]["ShardId"] != FIRST
    assert data(page(kinesis)) == [b"meanwhile"]


# Listing


def test_shards_are_listed_in_pages_whose_token_stands_alone_and_expires(fake: FakeKinesis, kinesis: Any) -> None:
    """ListShards: MaxResults, NextToken (not with StreamName; good for 300 seconds), ExclusiveStartShardId."""
    kinesis.update_shard_count(StreamName=S, TargetShardCount=2, ScalingType="UNIFORM_SCALING")
    names = [f"shardId-{n:012d}" for n in range(3)]
    first = kinesis.list_shards(StreamName=S, MaxResults=2)
    second = kinesis.list_shards(NextToken=first["NextToken"], MaxResults=2)
    assert [one["ShardId"] for one in first["Shards"] + second["Shards"]] == names
    assert "NextToken" not in second
    assert shards(kinesis, ExclusiveStartShardId=names[0]) == names[1:]
    with refused("InvalidArgumentException"):
        kinesis.list_shards(StreamName=S, NextToken=first["NextToken"])
    fake.clock.advance(301)
    with refused("ExpiredNextTokenException"):
        kinesis.list_shards(NextToken=first["NextToken"])


def test_the_filters_of_a_list(fake: FakeKinesis, kinesis: Any) -> None:
    """ShardFilter: what was open then (AT_), what was open since (FROM_), what comes after a shard."""
    fake.clock.advance(3600)
    left, right = fake.split(S, FIRST)
    split_at = fake.clock.time()
    fake.clock.advance(3600)
    child = fake.merge(S, left, right)

    def of(kind: str, **more: Any) -> list[str]:
        return shards(kinesis, ShardFilter={"Type": kind, **more})

    assert of("AT_TRIM_HORIZON") == [FIRST]
    assert of("FROM_TRIM_HORIZON") == shards(kinesis) == [FIRST, left, right, child]
    assert of("AT_LATEST") == [child]
    assert of("AT_TIMESTAMP", Timestamp=split_at + 60) == [left, right]
    assert of("FROM_TIMESTAMP", Timestamp=split_at + 60) == [left, right, child]
    assert of("AFTER_SHARD_ID", ShardId=left) == [right, child]
    fake.clock.advance(22.5 * 3600)
    assert of("AT_TRIM_HORIZON") == [FIRST]
    fake.clock.advance(3600)
    assert of("AT_TRIM_HORIZON") == [left, right]


def test_streams_are_listed_and_described(fake: FakeKinesis, kinesis: Any) -> None:
    """ListStreams: Limit, HasMoreStreams, NextToken. DescribeStream(Summary): status, retention, shards."""
    for name in ("a", "b"):
        kinesis.create_stream(StreamName=name, ShardCount=2)
    first = kinesis.list_streams(Limit=2)
    second = kinesis.list_streams(Limit=2, NextToken=first["NextToken"])
    assert (first["StreamNames"], first["HasMoreStreams"]) == (["a", "b"], True)
    assert (second["StreamNames"], second["HasMoreStreams"]) == ([S], False)
    summary = kinesis.describe_stream_summary(StreamName="a")["StreamDescriptionSummary"]
    assert (summary["OpenShardCount"], summary["RetentionPeriodHours"], summary["StreamStatus"]) == (2, 24, "ACTIVE")
    shown = kinesis.describe_stream(StreamName="a", Limit=1)["StreamDescription"]
    assert (len(shown["Shards"]), shown["HasMoreShards"]) == (1, True)


# Retention


def test_records_older_than_the_retention_are_trimmed_and_the_horizon_moves(fake: FakeKinesis, kinesis: Any) -> None:
    """GetRecords: accessible for 24 hours. TRIM_HORIZON: the oldest untrimmed record."""
    put(kinesis, b"old")
    fake.clock.advance(13 * 3600)
    put(kinesis, b"new")
    assert data(page(kinesis)) == [b"old", b"new"]
    fake.clock.advance(12 * 3600)
    assert data(page(kinesis)) == [b"new"]
    assert data(page(kinesis, FIRST, "AT_TIMESTAMP", Timestamp=1.0)) == [b"new"]


@pytest.mark.parametrize("trimmed", ["horizon", "refused"])
def test_a_position_before_the_horizon_gives_the_oldest_record_or_an_error(
    fake: FakeKinesis, kinesis: Any, trimmed: Any
) -> None:
    """GetShardIterator does not say which; so the fake can do both."""
    old, _ = put(kinesis, b"old", b"old too")
    fake.clock.advance(25 * 3600)
    put(kinesis, b"new")
    fake.api.trimmed = trimmed
    if trimmed == "refused":
        with refused("InvalidArgumentException"):
            iterator(kinesis, FIRST, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=old["SequenceNumber"])
    else:
        assert data(page(kinesis, FIRST, "AT_SEQUENCE_NUMBER", StartingSequenceNumber=old["SequenceNumber"])) == [
            b"new"
        ]


def test_a_closed_shard_expires_when_its_last_record_may_be_gone(fake: FakeKinesis, kinesis: Any) -> None:
    """Developer guide, after a reshard: CLOSED until the retention is over, then EXPIRED. ListShards: not listed."""
    put(kinesis, b"1")
    left, right = fake.split(S, FIRST)
    fake.clock.advance(23 * 3600)
    assert data(page(kinesis)) == [b"1"]
    fake.clock.advance(2 * 3600)
    assert shards(kinesis) == [left, right]
    with refused("ResourceNotFoundException"):
        iterator(kinesis)


def test_a_longer_retention_keeps_more_but_brings_nothing_back(fake: FakeKinesis, kinesis: Any) -> None:
    """Increase/DecreaseStreamRetentionPeriod: 24 to 8760 hours; expired data stays inaccessible."""
    put(kinesis, b"old")
    fake.clock.advance(25 * 3600)
    put(kinesis, b"new")
    kinesis.increase_stream_retention_period(StreamName=S, RetentionPeriodHours=48)
    assert data(page(kinesis)) == [b"new"]
    fake.clock.advance(30 * 3600)
    assert data(page(kinesis)) == [b"new"]
    kinesis.decrease_stream_retention_period(StreamName=S, RetentionPeriodHours=24)
    assert data(page(kinesis)) == []
    for hours in (23, 8761):
        with refused("InvalidArgumentException"):
            kinesis.increase_stream_retention_period(StreamName=S, RetentionPeriodHours=hours)


# The life of a stream


def test_a_stream_is_creating_then_active_then_deleting_then_gone(fake: FakeKinesis, kinesis: Any) -> None:
    """CreateStream, DeleteStream: asynchronous; data may still be read and written while it is DELETING."""
    fake.api.settling = 10
    kinesis.create_stream(StreamName="t", ShardCount=1)
    for call in (
        kinesis.list_shards,
        lambda **at: kinesis.split_shard(ShardToSplit=FIRST, NewStartingHashKey="7", **at),
    ):
        with refused("ResourceInUseException"):
            call(StreamName="t")
    with refused("ResourceNotFoundException"):
        kinesis.put_record(StreamName="t", PartitionKey="k", Data=b"x")
    with refused("ResourceInUseException"):
        kinesis.create_stream(StreamName="t", ShardCount=1)
    fake.clock.advance(10)
    kinesis.put_record(StreamName="t", PartitionKey="k", Data=b"x")
    kinesis.delete_stream(StreamName="t")
    kinesis.put_record(StreamName="t", PartitionKey="k", Data=b"y")
    summary = kinesis.describe_stream_summary(StreamName="t")["StreamDescriptionSummary"]
    assert summary["StreamStatus"] == "DELETING"
    fake.clock.advance(10)
    with refused("ResourceNotFoundException"):
        kinesis.put_record(StreamName="t", PartitionKey="k", Data=b"z")


def test_a_stream_made_again_is_another_one(fake: FakeKinesis, kinesis: Any) -> None:
    """DeleteStream: all shards and data go. ListShards, StreamCreationTimestamp: two streams of one name differ in it;
    sequence numbers of one "did not come from" the other."""
    (old,) = put(kinesis, b"1")
    reader = iterator(kinesis)
    was = kinesis.describe_stream_summary(StreamName=S)["StreamDescriptionSummary"]["StreamCreationTimestamp"]
    fake.make_again(S)
    made = kinesis.describe_stream_summary(StreamName=S)["StreamDescriptionSummary"]["StreamCreationTimestamp"]
    (new,) = put(kinesis, b"2")
    assert made > was
    assert (new["ShardId"], data(page(kinesis))) == (FIRST, [b"2"])
    assert int(new["SequenceNumber"]) > int(old["SequenceNumber"])
    with refused("InvalidArgumentException"):
        iterator(kinesis, FIRST, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=old["SequenceNumber"])
    with refused("ResourceNotFoundException"):
        kinesis.get_records(ShardIterator=reader)


def test_a_sequence_number_belongs_to_its_shard(fake: FakeKinesis, kinesis: Any) -> None:
    """GetShardIterator: the sequence number of a record in this shard; others are InvalidArgumentException."""
    left, right = fake.split(S, FIRST)
    (one,) = put(kinesis, b"1", ExplicitHashKey="0")
    assert data(page(kinesis, left, "AT_SEQUENCE_NUMBER", StartingSequenceNumber=one["SequenceNumber"])) == [b"1"]
    with refused("InvalidArgumentException"):
        iterator(kinesis, right, "AT_SEQUENCE_NUMBER", StartingSequenceNumber=one["SequenceNumber"])


def test_the_control_plane_has_its_own_limits(fake: FakeKinesis, kinesis: Any) -> None:
    """CreateStream: five a second, five in CREATING, the account's shards: LimitExceededException."""
    fake.api.settling = 60
    for n in range(4):
        kinesis.create_stream(StreamName=f"s{n}", ShardCount=1)
    with refused("LimitExceededException"):
        kinesis.create_stream(StreamName="fast", ShardCount=1)
    fake.clock.advance(1)
    kinesis.create_stream(StreamName="s4", ShardCount=1)
    with refused("LimitExceededException"):
        kinesis.create_stream(StreamName="sixth", ShardCount=1)
    fake.clock.advance(60)
    with refused("LimitExceededException"):
        kinesis.create_stream(StreamName="large", ShardCount=500)
