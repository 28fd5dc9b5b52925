"""Small helpers around the stream and the lake of a test."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from include.aws import client
from include.events import Event
from include.lake import raw
from include.settings import Settings
from include.stream.backoff import Backoff
from include.stream.producer import put_records
from tests.conftest import make_aws
from tests.faults.proxy import Answer, Fault, Forward, Request, Response

SHARD = "shardId-000000000000"
NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def backoff(self, **bounds: Any) -> Backoff:
        return Backoff(sleep=self.sleep, clock=lambda: self.now, **bounds)


def single_shot(settings: Settings, service: str = "kinesis") -> Any:
    """A client without retries of its own, so that a test sees ours."""
    import boto3
    from botocore.config import Config

    make_aws()
    return boto3.client(
        service,  # type: ignore[call-overload]
        region_name=settings.aws_region,
        endpoint_url=settings.aws_endpoint_url,
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=5),
    )


def refusal(code: str, status: int = 400) -> Answer:
    """Kinesis refuses a whole call."""
    body = json.dumps({"__type": code, "message": "made by the test"}).encode()
    return Answer(status, body, {"Content-Type": "application/x-amz-json-1.1"})


class EmptyPage(Fault):
    """GetRecords finds nothing although more is to come, as Kinesis often does; the place in the shard stays."""

    def __init__(self, millis_behind: int) -> None:
        self.millis_behind = millis_behind

    def act(self, request: Request, forward: Forward, closing: threading.Event) -> Response:
        page = {
            "Records": [],
            "NextShardIterator": request.json()["ShardIterator"],
            "MillisBehindLatest": self.millis_behind,
        }
        return Response(200, json.dumps(page).encode(), (("Content-Type", "application/x-amz-json-1.1"),))


def quote(n: int, symbol: str = "AAPL", **more: Any) -> Event:
    """The n-th quote of a made-up minute."""
    return Event("simulator", "quote", symbol, NOON + timedelta(seconds=n), "", {"price": n, **more}, NOON)


def put(settings: Settings, *records: Event | bytes) -> None:
    """Put events, or bytes as they are, into the stream."""
    pairs = [(one.symbol, one.to_json()) if isinstance(one, Event) else ("any", one) for one in records]
    report = put_records(client(settings, "kinesis"), settings.stream, pairs)
    assert report.sent == len(records), report


def keys(settings: Settings) -> list[str]:
    """The keys of all objects in the lake."""
    pages = client(settings, "s3").get_paginator("list_objects_v2").paginate(Bucket=settings.bucket)
    return [one["Key"] for page in pages for one in page.get("Contents", [])]


def lake_lines(settings: Settings) -> list[dict[str, Any]]:
    """All lines of all objects in the lake, in the order of their keys."""
    s3 = client(settings, "s3")
    return [json.loads(line) for key in sorted(keys(settings)) for _, line in raw.read_lines(s3, settings.bucket, key)]


def make_stream_again(settings: Settings, shards: int = 1) -> None:
    """Delete the stream with all it holds and make another one of the same name."""
    kinesis = client(settings, "kinesis")
    made = kinesis.describe_stream_summary(StreamName=settings.stream)["StreamDescriptionSummary"]
    kinesis.delete_stream(StreamName=settings.stream)
    while True:  # the emulator's creation times are whole seconds; the new one must be another
        kinesis.create_stream(StreamName=settings.stream, ShardCount=shards)
        new = kinesis.describe_stream_summary(StreamName=settings.stream)["StreamDescriptionSummary"]
        if new["StreamCreationTimestamp"] != made["StreamCreationTimestamp"]:
            return
        kinesis.delete_stream(StreamName=settings.stream)
