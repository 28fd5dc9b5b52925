"""Requests within Kinesis' limits; only what was refused goes again; what could not be sent is named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.aws import client
from include.errors import StreamError
from include.settings import Settings
from include.stream.consumer import read_batch
from include.stream.producer import MAX_RECORD_BYTES, Failed, put_records
from tests.faults.proxy import Fault, FaultProxy, LoseAnswer, RefuseRecords, Reset, aws_faults
from tests.stream.helpers import SHARD, Clock, refusal, single_shot

THROTTLED = "ProvisionedThroughputExceededException"


def arrived(settings: Settings) -> list[tuple[str, bytes]]:
    batch = read_batch(client(settings, "kinesis"), settings.stream, SHARD, None, 100_000, 1 << 30)
    return [(record.partition_key, record.data) for record in batch.records]


def sizes(proxy: FaultProxy) -> list[int]:
    """How many records each PutRecords held, in order."""
    return [len(seen.request.json()["Records"]) for seen in proxy.seen if seen.operation == "PutRecords"]


def test_records_arrive_in_order_in_requests_of_500(settings: Settings) -> None:
    records = [(f"S{n % 7}", b"%d" % n) for n in range(1201)]
    with aws_faults(settings) as (proxy, behind):
        report = put_records(client(behind, "kinesis"), settings.stream, records)
    assert (report.sent, report.failed, report.oversize, report.attempts) == (1201, [], [], 3)
    assert sizes(proxy) == [500, 500, 201]
    assert arrived(settings) == records
    assert str(report) == "1201 sent, 0 failed, 0 too large (3 requests)"


def test_a_request_holds_5_mib_with_its_keys(settings: Settings) -> None:
    records = [("k" * 24, b"x" * (MAX_RECORD_BYTES - 24))] * 6
    with aws_faults(settings) as (proxy, behind):
        report = put_records(client(behind, "kinesis"), settings.stream, records)
    assert report.sent == 6
    assert sizes(proxy) == [5, 1]


def test_a_record_over_1_mib_is_named_and_the_rest_is_sent(settings: Settings) -> None:
    whole = b"x" * (MAX_RECORD_BYTES - 1)
    report = put_records(client(settings, "kinesis"), settings.stream, [("a", whole), ("b", whole + b"y"), ("c", b"z")])
    assert (report.sent, report.oversize, report.failed) == (2, [1], [])
    assert [key for key, _ in arrived(settings)] == ["a", "c"]


def test_only_the_refused_are_sent_again(settings: Settings) -> None:
    records = [("A", b"a1"), ("B", b"b1"), ("C", b"c1"), ("D", b"d1")]
    clock = Clock()
    with aws_faults(settings) as (proxy, behind):
        proxy.add(RefuseRecords((1, 3)), operation="PutRecords")
        proxy.add(RefuseRecords((0,), "InternalFailure"), operation="PutRecords")
        report = put_records(client(behind, "kinesis"), settings.stream, records, backoff=clock.backoff())
    assert sizes(proxy) == [4, 2, 1]
    assert (report.sent, report.attempts, report.failed) == (4, 3, [])
    assert arrived(settings) == [("A", b"a1"), ("C", b"c1"), ("D", b"d1"), ("B", b"b1")]
    assert 0.05 <= clock.slept[0] <= 0.1 <= clock.slept[1] <= 0.2


def test_a_record_refused_for_good_holds_back_what_follows_of_its_key(settings: Settings) -> None:
    records = [("A", b"a1"), *[("B", b"b%d" % n) for n in range(499)], ("A", b"a2"), ("C", b"c1")]
    clock = Clock()
    with aws_faults(settings) as (proxy, behind):
        proxy.add(RefuseRecords((0,)), operation="PutRecords", times=3)
        report = put_records(client(behind, "kinesis"), settings.stream, records, backoff=clock.backoff(attempts=3))
    assert report.failed == [Failed(0, THROTTLED), Failed(500, "HeldBack")]
    assert arrived(settings) == [*records[1:500], ("C", b"c1")]


@pytest.mark.parametrize(
    "fault", [refusal(THROTTLED), refusal("InternalFailure", 500), refusal("ServiceUnavailable", 503), Reset()],
    ids=["throttled", "500", "503", "reset"],
)  # fmt: skip
def test_a_call_that_fails_as_a_whole_is_repeated(settings: Settings, fault: Fault) -> None:
    with aws_faults(settings) as (proxy, behind):
        proxy.add(fault, operation="PutRecords", times=2)
        report = put_records(single_shot(behind), settings.stream, [("A", b"1")], backoff=Clock().backoff())
    assert (report.sent, report.attempts) == (1, 3)
    assert arrived(settings) == [("A", b"1")]


def test_a_lost_answer_doubles_rather_than_loses(settings: Settings) -> None:
    with aws_faults(settings) as (proxy, behind):
        proxy.add(LoseAnswer(), operation="PutRecords")
        report = put_records(single_shot(behind), settings.stream, [("A", b"1")], backoff=Clock().backoff())
    assert report.sent == 1
    assert arrived(settings) == [("A", b"1"), ("A", b"1")]


def test_what_a_dead_stream_did_not_take_is_named_in_bounded_time(settings: Settings) -> None:
    records = [("A", b"%d" % n) for n in range(500)] + [("B", b"b1")]
    clock = Clock()
    with aws_faults(settings) as (proxy, behind):
        proxy.add(refusal("InternalFailure", 500), operation="PutRecords", times=None)
        report = put_records(single_shot(behind), settings.stream, records, backoff=clock.backoff(attempts=4))
    assert (report.sent, report.attempts) == (0, 4)
    assert [failed.error_code for failed in report.failed] == ["InternalFailure"] * 500 + ["NotSent"]
    assert clock.now < 1


def test_time_without_progress_ends_the_call() -> None:
    clock = Clock()
    report = put_records(
        Scripted([{0}] * 1000), "stream", [("A", b"1"), ("B", b"2")], backoff=clock.backoff(attempts=1000, seconds=30)
    )
    assert (report.sent, report.failed) == (1, [Failed(0, THROTTLED)])
    assert 30 <= clock.now <= 36


def test_a_stream_that_is_not_there_is_an_error_at_once(settings: Settings) -> None:
    with pytest.raises(StreamError, match=r"the stream nowhere takes no records .*0 were sent"):
        put_records(client(settings, "kinesis"), "nowhere", [("A", b"1")])


@pytest.mark.parametrize("key", ["", "k" * 257, "half a pair \ud800"], ids=["empty", "too long", "no text"])
def test_a_key_that_kinesis_does_not_know_fails_alone(settings: Settings, key: str) -> None:
    report = put_records(client(settings, "kinesis"), settings.stream, [("A", b"1"), (key, b"2"), ("B", b"3")])
    assert (report.sent, report.failed) == (2, [Failed(1, "InvalidPartitionKey")])


class Scripted:
    """A stream in memory: request n refuses the places in `refusals[n]`, or fails as a whole if that is None."""

    def __init__(self, refusals: Sequence[set[int] | None]) -> None:
        self.refusals = list(refusals)
        self.requests: list[tuple[list[tuple[str, bytes]], set[int]]] = []

    def put_records(self, *, StreamName: str, Records: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        refused = self.refusals.pop(0) if self.refusals else set()
        if refused is None:
            from botocore.exceptions import ConnectionClosedError

            raise ConnectionClosedError(endpoint_url="http://stream")
        refused &= set(range(len(Records)))
        self.requests.append(([(one["PartitionKey"], one["Data"]) for one in Records], refused))
        answers = [{"ErrorCode": THROTTLED} if place in refused else {"ShardId": "0"} for place in range(len(Records))]
        return {"FailedRecordCount": len(refused), "Records": answers}

    def taken(self, request: int) -> list[tuple[str, bytes]]:
        records, refused = self.requests[request]
        return [one for place, one in enumerate(records) if place not in refused]


@given(
    keys=st.lists(st.sampled_from("ABC"), max_size=30),
    refusals=st.lists(st.none() | st.sets(st.integers(0, 29)), max_size=12),
    attempts=st.integers(1, 4),
)
def test_nothing_is_lost_or_doubled_and_no_record_overtakes_an_earlier_request_of_its_key(
    keys: list[str], refusals: list[set[int] | None], attempts: int
) -> None:
    records = [(key, b"%d" % n) for n, key in enumerate(keys)]
    stream: Any = Scripted(refusals)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("include.stream.producer.MAX_REQUEST_RECORDS", 4)
        report = put_records(stream, "stream", records, backoff=Clock().backoff(attempts=attempts))
    taken = [one for request in range(len(stream.requests)) for one in stream.taken(request)]
    failed = [records[one.index] for one in report.failed]
    assert sorted(taken + failed) == sorted(records)
    assert report.sent == len(taken)
    tried: set[tuple[str, bytes]] = set()
    done: set[tuple[str, bytes]] = set()
    for request, (sent, _) in enumerate(stream.requests):
        for key, data in sent:
            waiting = {one for one in tried - done - set(sent) if one[0] == key and int(one[1]) < int(data)}
            assert not waiting, f"{key} {data!r} was sent while {waiting} waited"
        tried |= set(sent)
        done |= set(stream.taken(request))
