"""The calls of the Kinesis fake's own tests, through boto3: a stream `s` with a first shard."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

S, FIRST = "s", "shardId-000000000000"


def put(kinesis: Any, *data: bytes, key: str = "k", **more: str) -> list[dict[str, Any]]:
    answer = kinesis.put_records(StreamName=S, Records=[{"PartitionKey": key, "Data": one, **more} for one in data])
    return list(answer["Records"])


def iterator(kinesis: Any, shard: str = FIRST, kind: str = "TRIM_HORIZON", **more: Any) -> str:
    answer = kinesis.get_shard_iterator(StreamName=S, ShardId=shard, ShardIteratorType=kind, **more)
    return str(answer["ShardIterator"])


def page(kinesis: Any, *place: str, limit: int = 10_000, **more: Any) -> dict[str, Any]:
    return dict(kinesis.get_records(ShardIterator=iterator(kinesis, *place, **more), Limit=limit))


def data(answer: dict[str, Any]) -> list[bytes]:
    return [record["Data"] for record in answer["Records"]]


def shards(kinesis: Any, **more: Any) -> list[str]:
    return [shard["ShardId"] for shard in kinesis.list_shards(StreamName=S, **more)["Shards"]]


def status(kinesis: Any) -> str:
    return str(kinesis.describe_stream_summary(StreamName=S)["StreamDescriptionSummary"]["StreamStatus"])


def refused(code: str) -> Any:
    return pytest.raises(ClientError, match=rf"\({code}\)")
