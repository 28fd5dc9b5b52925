"""The fault proxy does what its rules say, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest

from include.aws import client
from include.settings import Settings
from tests.faults.proxy import (
    Answer,
    Change,
    Cut,
    Delay,
    FaultProxy,
    Hang,
    LoseAnswer,
    RefuseRecords,
    Request,
    Reset,
    Response,
    aws_faults,
)


@pytest.fixture
def upstream() -> Iterator[FaultProxy]:
    """A vendor that says hello."""
    with FaultProxy() as server:
        server.add(Answer(200, b"hello", {"X-Vendor": "1"}), times=None)
        yield server


@pytest.fixture
def proxy(upstream: FaultProxy) -> Iterator[FaultProxy]:
    with FaultProxy(upstream.url) as server:
        yield server


def test_without_a_rule_everything_passes_unchanged(proxy: FaultProxy, upstream: FaultProxy) -> None:
    answer = httpx.put(f"{proxy.url}/a%20b?x=1&y", content=b"body", headers={"Authorization": "sig", "Host": "h:1"})
    assert (answer.status_code, answer.content, answer.headers["X-Vendor"]) == (200, b"hello", "1")
    (seen,) = upstream.seen
    assert (seen.request.method, seen.request.path, seen.request.body) == ("PUT", "/a%20b?x=1&y", b"body")
    assert (seen.request.header("host"), seen.request.header("authorization")) == ("h:1", "sig")


def test_a_chunked_body_arrives_whole(proxy: FaultProxy, upstream: FaultProxy) -> None:
    httpx.post(proxy.url, content=iter([b"one,", b"two"]))
    assert upstream.seen[0].request.body == b"one,two"


def test_a_status_is_answered_without_asking_the_upstream(proxy: FaultProxy, upstream: FaultProxy) -> None:
    proxy.add(Answer(429, b"slow down", {"Retry-After": "7"}))
    answer = httpx.get(proxy.url)
    assert (answer.status_code, answer.text, answer.headers["Retry-After"]) == (429, "slow down", "7")
    assert upstream.seen == ()
    assert httpx.get(proxy.url).text == "hello"
    assert [(seen.fault, seen.upstream_status) for seen in proxy.seen] == [("Answer", None), (None, 200)]


def test_a_rule_skips_its_first_matches_and_acts_so_many_times(proxy: FaultProxy) -> None:
    proxy.add(Answer(500), path="/a", after=1, times=2)
    statuses = [httpx.get(proxy.url + path).status_code for path in ("/a", "/b", "/a", "/a?x", "/a", "/a")]
    assert statuses == [200, 200, 500, 200, 500, 200]


def test_rules_match_method_operation_and_anything_else(proxy: FaultProxy) -> None:
    proxy.add(Answer(501), method="DELETE", times=None)
    proxy.add(Answer(502), operation="PutRecords", times=None)
    proxy.add(Answer(503), operation="Publish", times=None)
    proxy.add(Answer(504), where=lambda request: b"poison" in request.body, times=None)
    assert httpx.delete(proxy.url).status_code == 501
    assert httpx.post(proxy.url, headers={"X-Amz-Target": "Kinesis_20131202.PutRecords"}).status_code == 502
    assert httpx.post(proxy.url, data={"Action": "Publish", "Version": "2010-03-31"}).status_code == 503
    assert httpx.post(proxy.url, content=b"a poison pill").status_code == 504
    assert httpx.post(proxy.url, content=b"bread").status_code == 200
    proxy.clear()
    assert httpx.delete(proxy.url).status_code == 200


def test_a_delay_is_waited_out(proxy: FaultProxy) -> None:
    proxy.add(Delay(0.2))
    start = time.monotonic()
    assert httpx.get(proxy.url).text == "hello"
    assert time.monotonic() - start >= 0.2


def test_a_hang_makes_the_client_give_up_and_the_proxy_closes_at_once(upstream: FaultProxy) -> None:
    with FaultProxy(upstream.url) as proxy:
        proxy.add(Hang())
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(proxy.url, timeout=0.1)
        start = time.monotonic()
    assert time.monotonic() - start < 2


def test_a_reset_never_reaches_the_upstream(proxy: FaultProxy, upstream: FaultProxy) -> None:
    proxy.add(Reset())
    with pytest.raises(httpx.ReadError):
        httpx.get(proxy.url)
    assert upstream.seen == ()


def test_a_lost_answer_was_applied_all_the_same(proxy: FaultProxy, upstream: FaultProxy) -> None:
    proxy.add(LoseAnswer())
    with pytest.raises(httpx.ReadError):
        httpx.post(proxy.url, content=b"apply me")
    assert [seen.request.body for seen in upstream.seen] == [b"apply me"]
    assert [(seen.fault, seen.upstream_status) for seen in proxy.seen] == [("LoseAnswer", 200)]


@pytest.mark.parametrize("fault", [Cut(0.4), Cut(0.4, Answer(200, b"hello"))])
def test_a_cut_body_is_shorter_than_promised(proxy: FaultProxy, fault: Cut) -> None:
    proxy.add(fault)
    with httpx.stream("GET", proxy.url) as answer:
        assert answer.headers["Content-Length"] == "5"
        with pytest.raises(httpx.RemoteProtocolError, match="received 2 bytes, expected 5"):
            answer.read()


def test_an_answer_may_be_changed(proxy: FaultProxy) -> None:
    proxy.add(Change(lambda response: Response(203, response.body.upper() + b"!", response.headers)))
    answer = httpx.get(proxy.url)
    assert (answer.status_code, answer.text, answer.headers["X-Vendor"]) == (203, "HELLO!", "1")


def test_without_an_upstream_an_unmatched_request_gets_502() -> None:
    with FaultProxy() as proxy:
        assert httpx.get(proxy.url).status_code == 502


def test_an_upstream_that_is_gone_gives_502() -> None:
    with FaultProxy() as gone:
        url = gone.url
    with FaultProxy(url) as proxy:
        assert httpx.get(proxy.url).status_code == 502


def test_the_operation_of_a_query_request_is_its_action() -> None:
    assert Request("GET", "/?Action=ListTopics&Version=1", (), b"").operation == "ListTopics"
    assert Request("PUT", "/bucket/key", (), b"").operation == ""


@pytest.mark.stack
def test_every_service_works_through_the_proxy(settings: Settings) -> None:
    with aws_faults(settings) as (proxy, through):
        s3, kinesis, sqs = client(through, "s3"), client(through, "kinesis"), client(through, "sqs")
        s3.put_object(Bucket=settings.bucket, Key="raw/a b+c.txt", Body=b"x" * 100_000, IfNoneMatch="*")
        assert s3.head_object(Bucket=settings.bucket, Key="raw/a b+c.txt")["ContentLength"] == 100_000
        assert s3.get_object(Bucket=settings.bucket, Key="raw/a b+c.txt")["Body"].read() == b"x" * 100_000
        kinesis.put_records(StreamName=settings.stream, Records=[{"PartitionKey": "k", "Data": b"d"}])
        assert settings.topic_arn is not None
        assert settings.inbox_url is not None
        client(through, "sns").publish(
            TopicArn=settings.topic_arn, Message="m", MessageGroupId="g", MessageDeduplicationId="d"
        )
        messages = sqs.receive_message(QueueUrl=settings.inbox_url, WaitTimeSeconds=2)["Messages"]
        assert [message["Body"] for message in messages] == ["m"]
    assert {"PutRecords", "Publish", "ReceiveMessage"} <= {seen.operation for seen in proxy.seen}
    assert {seen.upstream_status for seen in proxy.seen} == {200}


@pytest.mark.stack
def test_refused_records_are_not_put_and_the_others_are(settings: Settings) -> None:
    kinesis = client(settings, "kinesis")
    with aws_faults(settings) as (proxy, through):
        proxy.add(RefuseRecords((0, 2)), operation="PutRecords")
        answer = client(through, "kinesis").put_records(
            StreamName=settings.stream, Records=[{"PartitionKey": "k", "Data": data} for data in (b"0", b"1", b"2")]
        )
    assert answer["FailedRecordCount"] == 2
    assert ["ErrorCode" in record for record in answer["Records"]] == [True, False, True]
    shard = kinesis.list_shards(StreamName=settings.stream)["Shards"][0]["ShardId"]
    start = kinesis.get_shard_iterator(
        StreamName=settings.stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]  # fmt: skip
    assert [record["Data"] for record in kinesis.get_records(ShardIterator=start)["Records"]] == [b"1"]


@pytest.mark.stack
def test_a_retry_after_a_lost_acknowledgement_puts_a_record_twice(settings: Settings) -> None:
    with aws_faults(settings) as (proxy, through):
        proxy.add(LoseAnswer(), operation="PutRecords")
        client(through, "kinesis").put_records(
            StreamName=settings.stream, Records=[{"PartitionKey": "k", "Data": b"d"}]
        )
    puts = [(seen.fault, seen.upstream_status) for seen in proxy.seen if seen.operation == "PutRecords"]
    assert puts == [("LoseAnswer", 200), (None, 200)]
