"""Kinesis' JSON: how the model's streams, shards and records look in answers, and what requests may hold."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.faults.kinesis_model import HASH_KEYS, KinesisError, Shard, Stored, Stream

Json = dict[str, Any]


def described(stream: Stream) -> Json:
    return {
        "StreamName": stream.name, "StreamARN": stream.arn, "StreamStatus": stream.status,
        "StreamModeDetails": {"StreamMode": "PROVISIONED"}, "RetentionPeriodHours": stream.retention_hours,
        "StreamCreationTimestamp": stream.created / 1000, "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
        "EncryptionType": "NONE",
    }  # fmt: skip


def filtered(stream: Stream, wanted: Json | None, now: int) -> list[Shard]:
    shards = [one for _, one in sorted(stream.shards.items())]
    kind = (wanted or {}).get("Type", "FROM_TRIM_HORIZON")
    if kind == "AFTER_SHARD_ID":
        return [one for one in shards if one.shard_id > (wanted or {})["ShardId"]]
    if kind == "AT_LATEST":
        return [one for one in shards if one.closed is None]
    at = stream.horizon(now)
    if kind.endswith("TIMESTAMP"):
        at = max(at, round((wanted or {})["Timestamp"] * 1000))
    alive = [one for one in shards if one.closed is None or one.closed >= at]
    return [one for one in alive if one.created <= at] if kind.startswith("AT_") else alive


def shard_json(shard: Shard) -> Json:
    names = zip(("ParentShardId", "AdjacentParentShardId"), shard.parents, strict=False)
    ending = {} if shard.closed is None else {"EndingSequenceNumber": str(shard.ending)}
    return {
        "ShardId": shard.shard_id, **dict(names), "HashKeyRange": _hash_keys(shard),
        "SequenceNumberRange": {"StartingSequenceNumber": str(shard.starting), **ending},
    }  # fmt: skip


def child_json(shard: Shard) -> Json:
    return {"ShardId": shard.shard_id, "ParentShards": list(shard.parents), "HashKeyRange": _hash_keys(shard)}


def _hash_keys(shard: Shard) -> Json:
    return {"StartingHashKey": str(shard.first), "EndingHashKey": str(shard.last)}


def record_json(stored: Stored) -> Json:
    return {
        "SequenceNumber": str(stored.sequence), "ApproximateArrivalTimestamp": stored.arrived / 1000,
        "PartitionKey": stored.partition_key, "Data": base64.b64encode(stored.data).decode(), "EncryptionType": "NONE",
    }  # fmt: skip


def checked(stream: Stream, record: Json) -> tuple[str, bytes]:
    """A record's key and data. A record that does not fit fails the whole request."""
    key, data = record["PartitionKey"], base64.b64decode(record["Data"])
    if not 1 <= len(key) <= 256:
        raise KinesisError("InvalidArgumentException", f"PartitionKey must have 1 to 256 characters, not {len(key)}.")
    if len(key.encode()) + len(data) > stream.max_record_bytes:
        raise KinesisError("InvalidArgumentException", f"a record exceeds {stream.max_record_bytes} bytes")
    explicit = record.get("ExplicitHashKey")
    if explicit is not None and not 0 <= int(explicit) < HASH_KEYS:
        raise KinesisError("InvalidArgumentException", f"Invalid ExplicitHashKey {explicit}.")
    return key, data


def pack(held: Json) -> str:
    return base64.urlsafe_b64encode(json.dumps(held).encode()).decode()


def unpack(text: str, what: str) -> Json:
    try:
        held: Json = json.loads(base64.urlsafe_b64decode(text))
    except ValueError:
        raise KinesisError("InvalidArgumentException", f"Invalid {what}.") from None
    return held
