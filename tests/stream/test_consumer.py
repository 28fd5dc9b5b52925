"""From the last record on until nothing more is there, over all that Kinesis puts in the way."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.aws import client
from include.errors import StreamError
from include.settings import Settings
from include.stream.consumer import Batch, RecordsGoneError, describe, read_batch, read_range
from tests.faults.proxy import Answer, Change, Cut, Fault, Reset, Response, aws_faults
from tests.stream.helpers import SHARD, Clock, EmptyPage, put, refusal, single_shot

THROTTLED = "ProvisionedThroughputExceededException"
LETTERS = [b"a", b"b", b"c", b"d"]


def read(
    settings: Settings, after: str | None = None, *, records: int = 100, size: int = 1 << 20, **more: Any
) -> Batch:
    return read_batch(single_shot(settings), settings.stream, SHARD, after, records, size, **more)


def data(batch: Batch) -> list[bytes]:
    return [record.data for record in batch.records]


def sequences(settings: Settings) -> list[str]:
    return [record.sequence_number for record in read(settings).records]


def test_an_empty_shard_is_caught_up(settings: Settings) -> None:
    assert read(settings) == Batch([], 0, closed=False)


def test_a_record_comes_back_with_its_key_its_number_and_its_time_in_utc(settings: Settings) -> None:
    before = datetime.now(UTC)
    put(settings, b"\x00\xff")
    (record,) = read(settings).records
    assert (record.partition_key, record.data) == ("any", b"\x00\xff")
    assert int(record.sequence_number) > 0
    assert record.arrived_at.tzinfo is UTC
    assert abs(record.arrived_at - before) < timedelta(seconds=10)


def test_reading_goes_on_after_the_last_record(settings: Settings) -> None:
    put(settings, *LETTERS)
    first = read(settings, records=3)
    assert (data(first), first.caught_up) == ([b"a", b"b", b"c"], False)
    rest = read(settings, first.records[-1].sequence_number)
    assert (data(rest), rest.caught_up) == ([b"d"], True)


def test_a_batch_ends_before_it_gets_too_large_but_holds_one_record(settings: Settings) -> None:
    put(settings, b"12345", b"12345", b"123456", b"1")
    small = read(settings, size=10)
    assert (data(small), small.caught_up) == ([b"12345", b"12345"], False)
    assert data(read(settings, size=1)) == [b"12345"]


def test_empty_pages_before_the_end_are_read_over(settings: Settings) -> None:
    put(settings, *LETTERS)
    clock = Clock()
    with aws_faults(settings) as (proxy, behind):
        proxy.add(EmptyPage(millis_behind=5000), operation="GetRecords", times=3)
        batch = read(behind, backoff=clock.backoff())
    assert (data(batch), batch.caught_up) == (LETTERS, True)
    assert clock.slept == [0.25] * 3


def test_a_shard_that_stays_empty_but_behind_ends_in_bounded_time_and_does_not_count_as_caught_up(
    settings: Settings,
) -> None:
    clock = Clock()
    with aws_faults(settings) as (proxy, behind):
        proxy.add(EmptyPage(millis_behind=5000), operation="GetRecords", times=None)
        batch = read(behind, backoff=clock.backoff(seconds=3))
    assert (batch.records, batch.caught_up, clock.now) == ([], False, 3)


def test_a_full_page_is_not_the_end_even_if_it_says_so(settings: Settings) -> None:
    put(settings, *LETTERS)
    says_so = Change(
        lambda page: Response(200, json.dumps(page.json() | {"MillisBehindLatest": 0}).encode(), page.headers)
    )
    with aws_faults(settings) as (proxy, behind), pytest.MonkeyPatch.context() as patch:
        patch.setattr("include.stream.consumer._PAGE_RECORDS", 2)
        proxy.add(says_so, operation="GetRecords", times=None)
        assert data(read(behind)) == LETTERS


def test_an_expired_iterator_is_replaced_behind_the_last_record(settings: Settings) -> None:
    put(settings, *LETTERS)
    with aws_faults(settings) as (proxy, behind), pytest.MonkeyPatch.context() as patch:
        patch.setattr("include.stream.consumer._PAGE_RECORDS", 2)
        proxy.add(refusal("ExpiredIteratorException"), operation="GetRecords", after=1)
        assert data(read(behind)) == LETTERS
        asked = [seen.request.json() for seen in proxy.seen if seen.operation == "GetShardIterator"]
    assert [one["ShardIteratorType"] for one in asked] == ["TRIM_HORIZON", "AFTER_SEQUENCE_NUMBER"]
    assert asked[1]["StartingSequenceNumber"] == sequences(settings)[1]


def test_an_iterator_that_always_expires_is_an_error_in_the_end(settings: Settings) -> None:
    with aws_faults(settings) as (proxy, behind):
        proxy.add(refusal("ExpiredIteratorException"), operation="GetRecords", times=None)
        with pytest.raises(StreamError, match=r"the iterator expired 8 times in a row .* check this machine's clock"):
            read(behind, backoff=Clock().backoff())


@pytest.mark.parametrize("operation", ["GetShardIterator", "GetRecords"])
@pytest.mark.parametrize(
    "fault", [refusal(THROTTLED), refusal("InternalFailure", 500), Reset(), Cut(0.5)],
    ids=["throttled", "500", "reset", "cut off"],
)  # fmt: skip
def test_what_passes_is_waited_for(settings: Settings, fault: Fault, operation: str) -> None:
    put(settings, *LETTERS)
    clock = Clock()
    with aws_faults(settings) as (proxy, behind):
        proxy.add(fault, operation=operation, times=3)
        assert data(read(behind, backoff=clock.backoff())) == LETTERS
    assert len(clock.slept) == 3


def test_what_does_not_pass_is_an_error_that_names_the_shard(settings: Settings) -> None:
    with aws_faults(settings) as (proxy, behind):
        proxy.add(refusal(THROTTLED), operation="GetRecords", times=None)
        with pytest.raises(StreamError, match=f"{settings.stream}/{SHARD} cannot be read: .*{THROTTLED}"):
            read(behind, backoff=Clock().backoff())


def test_a_closed_shard_ends(settings: Settings) -> None:
    put(settings, *LETTERS)
    last_page = Change(
        lambda page: Response(200, json.dumps(page.json() | {"NextShardIterator": None}).encode(), page.headers)
    )
    with aws_faults(settings) as (proxy, behind):
        proxy.add(last_page, operation="GetRecords")
        batch = read(behind)
    assert (data(batch), batch.closed, batch.caught_up) == (LETTERS, True, True)


def test_exactly_the_range_is_read_again(settings: Settings) -> None:
    put(settings, *LETTERS)
    numbers = sequences(settings)
    again = read_range(single_shot(settings), settings.stream, SHARD, numbers[1], numbers[2])
    assert data(again) == [b"b", b"c"]
    one = read_range(single_shot(settings), settings.stream, SHARD, numbers[3], numbers[3])
    assert data(one) == [b"d"]


def test_a_range_is_read_over_empty_pages_and_lies_about_the_end(settings: Settings) -> None:
    put(settings, *LETTERS)
    numbers = sequences(settings)
    with aws_faults(settings) as (proxy, behind):
        proxy.add(EmptyPage(millis_behind=9000), operation="GetRecords", times=6)
        proxy.add(EmptyPage(millis_behind=0), operation="GetRecords", times=4)
        kinesis = single_shot(behind)
        again = read_range(kinesis, settings.stream, SHARD, numbers[0], numbers[3], backoff=Clock().backoff())
    assert data(again) == LETTERS


@pytest.mark.parametrize(
    ("first", "last", "held"),
    [(-1, 1, "its oldest record there is"), (1, 9, "it ends at"), (9, 10, "it holds nothing from there on")],
    ids=["trimmed", "cut off", "all gone"],
)
def test_a_range_that_is_not_all_there_is_named_with_what_is_left(
    settings: Settings, first: int, last: int, held: str
) -> None:
    put(settings, *LETTERS)
    base = int(sequences(settings)[0])
    numbers = {n: f"{base + n * 10**15:030d}" for n in (-1, 9, 10)} | {1: sequences(settings)[1]}
    with pytest.raises(RecordsGoneError, match=f"no longer holds all records from {numbers[first]} .*: {held}"):
        read_range(
            single_shot(settings), settings.stream, SHARD, numbers[first], numbers[last], backoff=Clock().backoff()
        )


def test_a_shard_that_does_not_answer_now_does_not_count_as_gone(settings: Settings) -> None:
    put(settings, *LETTERS)
    numbers = sequences(settings)
    with aws_faults(settings) as (proxy, behind):
        proxy.add(EmptyPage(millis_behind=5000), operation="GetRecords", times=None)
        with pytest.raises(StreamError, match=r"gave nothing at .* for 2 s; try again") as error:
            read_range(
                single_shot(behind), settings.stream, SHARD, numbers[0], numbers[1], backoff=Clock().backoff(seconds=2)
            )
    assert not isinstance(error.value, RecordsGoneError)


def test_sequence_numbers_compare_as_numbers() -> None:
    class Shard:
        def get_shard_iterator(self, **asked: str) -> dict[str, str]:
            return {"ShardIterator": "here"}

        def get_records(self, **asked: str) -> dict[str, Any]:
            records = [
                {
                    "SequenceNumber": n,
                    "ApproximateArrivalTimestamp": datetime.now(UTC),
                    "PartitionKey": "k",
                    "Data": b"",
                }
                for n in ("9", "10", "11")
            ]
            return {"Records": records, "NextShardIterator": "there", "MillisBehindLatest": 0}

    kinesis: Any = Shard()
    assert [one.sequence_number for one in read_range(kinesis, "s", "0", "9", "10").records] == ["9", "10"]


def test_a_stream_is_described_with_its_shards(settings: Settings) -> None:
    stream = describe(client(settings, "kinesis"), settings.stream)
    assert (stream.name, stream.retention) == (settings.stream, timedelta(hours=24))
    assert stream.created_at.tzinfo is UTC
    assert [(shard.shard_id, shard.parents, shard.closed) for shard in stream.shards] == [(SHARD, (), False)]


def test_parents_come_before_their_children_over_all_pages(settings: Settings) -> None:
    def shard(name: str, *parents: str, closed: bool = False) -> dict[str, Any]:
        numbers = {"StartingSequenceNumber": "1"} | ({"EndingSequenceNumber": "9"} if closed else {})
        names = dict(zip(("ParentShardId", "AdjacentParentShardId"), parents, strict=False))
        return {"ShardId": name, "HashKeyRange": {}, "SequenceNumberRange": numbers, **names}

    def page(*shards: dict[str, Any], **more: str) -> Answer:
        body = json.dumps({"Shards": shards, **more}).encode()
        return Answer(200, body, {"Content-Type": "application/x-amz-json-1.1"})

    with aws_faults(settings) as (proxy, behind):
        proxy.add(page(shard("a-merged", "c", "b"), NextToken="more"), operation="ListShards")
        proxy.add(page(shard("b", "d", closed=True), shard("c", "trimmed", closed=True)), operation="ListShards")
        stream = describe(client(behind, "kinesis"), settings.stream)
    assert {one.shard_id: (one.parents, one.closed) for one in stream.shards} == {
        "b": (("d",), True), "c": (("trimmed",), True), "a-merged": (("c", "b"), False),
    }  # fmt: skip
    assert stream.shards[-1].shard_id == "a-merged"


def test_a_stream_that_is_not_there_is_an_error_with_the_remedy(settings: Settings) -> None:
    with pytest.raises(StreamError, match=r"the stream nowhere cannot be described: .*not found[^$]*make up"):
        describe(client(settings, "kinesis"), "nowhere")
