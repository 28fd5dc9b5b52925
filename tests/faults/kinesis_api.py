"""The Kinesis API (2013-12-02) over `kinesis_model`: what each operation takes, refuses and answers.

It follows AWS' API reference; where that leaves something open, a switch on `KinesisApi` chooses.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

from botocore import xform_name

from tests.faults.kinesis_model import ACCOUNT, MIB, Budget, Clock, KinesisError, Shard, Stream, encoded_shard
from tests.faults.kinesis_wire import (
    Json,
    checked,
    child_json,
    described,
    filtered,
    pack,
    record_json,
    shard_json,
    unpack,
)

_ITERATOR_LIFE = _TOKEN_LIFE = 300_000
_SHARD_QUOTA, _CREATING_QUOTA = 500, 5
_MAX_RECORDS, _MAX_REQUEST = 500, 10 * MIB
# Calls per second: of the account, where AWS says so.
_RATES = {
    "CreateStream": 5, "DeleteStream": 5, "DescribeStream": 10, "DescribeStreamSummary": 20, "ListStreams": 5,
    "MergeShards": 5, "SplitShard": 5, "UpdateShardCount": 10, "ListShards": 1000,
}  # fmt: skip


class KinesisApi:
    """All streams of an account.

    `settling`: seconds that a stream stays CREATING, UPDATING, DELETING. `trimmed`: what a position before the trim
    horizon gives, which AWS does not document: the oldest record, or InvalidArgumentException. `end_alone`: a closed
    shard says that it ended on a page of its own, not with its last records. `page_records`: a page holds no more, as
    pages of Kinesis may. `behind`: what MillisBehindLatest says, true or not. `empty_pages`: so many pages come empty
    although records follow.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.streams: dict[str, Stream] = {}
        self.settling = 0.0
        self.trimmed: Literal["horizon", "refused"] = "horizon"
        self.end_alone = False
        self.page_records = 10_000
        self.behind: int | None = None
        self.empty_pages = 0
        self.expired_before = 0
        self._epoch = 0
        self._serial = 0
        self._budgets = {operation: Budget(rate) for operation, rate in _RATES.items()}
        self._lock = threading.Lock()

    def call(self, operation: str, asked: Json) -> Json:
        """Do one call. Raises KinesisError."""
        act: Callable[[Json, int], Json | None] | None = getattr(self, f"_{xform_name(operation)}", None)
        if act is None:
            raise KinesisError("UnknownOperationException", f"the Kinesis fake has no {operation}")
        with self._lock:
            self.clock.advance(0.001)  # no two calls at the same millisecond
            now = self.clock.millis
            self._settle(now)
            if operation in self._budgets and not self._budgets[operation].take(1, now):
                raise KinesisError("LimitExceededException", f"Rate exceeded for {operation} under account {ACCOUNT}.")
            answer = act(asked, now) or {}
            self._settle(now)
            return answer

    def _settle(self, now: int) -> None:
        for stream in self.streams.values():
            stream.settle(now)
        self.streams = {name: stream for name, stream in self.streams.items() if not stream.deleted}

    # Streams

    def _create_stream(self, asked: Json, now: int) -> None:
        name, shards = asked["StreamName"], asked.get("ShardCount", 1)
        if name in self.streams:
            raise KinesisError("ResourceInUseException", f"Stream {name} under account {ACCOUNT} already exists.")
        if sum(stream.status == "CREATING" for stream in self.streams.values()) >= _CREATING_QUOTA:
            raise KinesisError("LimitExceededException", "five streams are being created already")
        if sum(len(stream.open) for stream in self.streams.values()) + shards > _SHARD_QUOTA:
            raise KinesisError("LimitExceededException", f"this account may have {_SHARD_QUOTA} shards")
        self._epoch = max(self._epoch + 1, now // 1000, *(one.epoch + 1 for one in self.streams.values()), 0)
        self.streams[name] = Stream(name, shards, now, self._epoch, self.settling)

    def _delete_stream(self, asked: Json, now: int) -> None:
        stream = self._stream(asked)
        self._epoch = max(self._epoch, stream.epoch)
        stream.delete(now)

    def _list_streams(self, asked: Json, now: int) -> Json:
        start = asked.get("NextToken") or asked.get("ExclusiveStartStreamName") or ""
        limit = min(asked.get("Limit", 100), 100)
        names = sorted(name for name in self.streams if name > start)
        page = names[:limit]
        more = {"NextToken": page[-1]} if len(names) > limit else {}
        return {"StreamNames": page, "HasMoreStreams": bool(more), **more}

    def _describe_stream_summary(self, asked: Json, now: int) -> Json:
        stream = self._stream(asked)
        summary = described(stream) | {
            "OpenShardCount": len(stream.open), "ConsumerCount": 0,
            "MaxRecordSizeInKiB": stream.max_record_bytes // 1024,
        }  # fmt: skip
        return {"StreamDescriptionSummary": summary}

    def _describe_stream(self, asked: Json, now: int) -> Json:
        stream = self._stream(asked)
        limit = asked.get("Limit", 100)
        shards = [one for name, one in sorted(stream.shards.items()) if name > asked.get("ExclusiveStartShardId", "")]
        page = {"Shards": [shard_json(one) for one in shards[:limit]], "HasMoreShards": len(shards) > limit}
        return {"StreamDescription": described(stream) | page}

    def _increase_stream_retention_period(self, asked: Json, now: int) -> None:
        self._retain(asked, longer=True)

    def _decrease_stream_retention_period(self, asked: Json, now: int) -> None:
        self._retain(asked, longer=False)

    def _retain(self, asked: Json, *, longer: bool) -> None:
        stream, hours = self._active(asked), asked["RetentionPeriodHours"]
        if not 24 <= hours <= 8760 or (hours < stream.retention_hours if longer else hours > stream.retention_hours):
            raise KinesisError(
                "InvalidArgumentException",
                f"Requested retention period ({hours} hours) for stream {stream.name} does not fit: it is "
                f"{stream.retention_hours} hours, and may be 24 to 8760",
            )
        stream.retention_hours = hours

    def _update_max_record_size(self, asked: Json, now: int) -> None:
        self._active(asked).max_record_bytes = asked["MaxRecordSizeInKiB"] * 1024

    # Shards

    def _list_shards(self, asked: Json, now: int) -> Json:
        token = asked.get("NextToken")
        if token and ("StreamName" in asked or "StreamARN" in asked):
            raise KinesisError("InvalidArgumentException", "NextToken and StreamName cannot be provided together.")
        first = asked
        start = asked.get("ExclusiveStartShardId", "")
        if token:
            held = unpack(token, "NextToken")
            if now - held["at"] > _TOKEN_LIFE:
                raise KinesisError("ExpiredNextTokenException", "The NextToken is expired.")
            first, start = held["asked"], held["start"]
        stream = self._stream(first)
        if stream.status == "CREATING":
            raise KinesisError("ResourceInUseException", f"Stream {stream.name} is not ACTIVE, but CREATING.")
        shards = [one for one in filtered(stream, first.get("ShardFilter"), now) if one.shard_id > start]
        limit = min(asked.get("MaxResults", 1000), 1000)
        answer: Json = {"Shards": [shard_json(one) for one in shards[:limit]]}
        if len(shards) > limit:
            answer["NextToken"] = pack({"at": now, "asked": first, "start": shards[limit - 1].shard_id})
        return answer

    def _split_shard(self, asked: Json, now: int) -> None:
        stream = self._active(asked)
        stream.split(stream.shard(asked["ShardToSplit"]), int(asked["NewStartingHashKey"]), now)

    def _merge_shards(self, asked: Json, now: int) -> None:
        stream = self._active(asked)
        stream.merge(stream.shard(asked["ShardToMerge"]), stream.shard(asked["AdjacentShardToMerge"]), now)

    def _update_shard_count(self, asked: Json, now: int) -> Json:
        stream, target = self._active(asked), asked["TargetShardCount"]
        count = len(stream.open)
        stream.scale(target, now)
        return {"StreamName": stream.name, "CurrentShardCount": count, "TargetShardCount": target}

    # Records

    def _put_record(self, asked: Json, now: int) -> Json:
        stream = self._writable(asked)
        key, data = checked(stream, asked)
        put = self._put(stream, key, data, asked.get("ExplicitHashKey"), now)
        if "ErrorCode" in put:
            raise KinesisError(put["ErrorCode"], put["ErrorMessage"])
        return put | {"EncryptionType": "NONE"}

    def _put_records(self, asked: Json, now: int) -> Json:
        stream, records = self._writable(asked), asked["Records"]
        if not 1 <= len(records) <= _MAX_RECORDS:
            raise KinesisError("InvalidArgumentException", f"Records must be 1 to {_MAX_RECORDS}, not {len(records)}.")
        pairs = [checked(stream, record) for record in records]
        if sum(len(key.encode()) + len(data) for key, data in pairs) > _MAX_REQUEST:
            raise KinesisError("InvalidArgumentException", "Records size exceeds 10 MiB limit")
        done = [
            self._put(stream, key, data, record.get("ExplicitHashKey"), now)
            for (key, data), record in zip(pairs, records, strict=True)
        ]
        failed = sum("ErrorCode" in one for one in done)
        return {"FailedRecordCount": failed, "Records": done, "EncryptionType": "NONE"}

    def _put(self, stream: Stream, key: str, data: bytes, explicit: str | None, now: int) -> Json:
        shard = stream.route(key, explicit)
        stored = shard.put(key, data, now)
        if stored is None:
            said = f"Rate exceeded for shard {shard.shard_id} in stream {stream.name} under account {ACCOUNT}."
            return {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": said}
        return {"SequenceNumber": str(stored.sequence), "ShardId": shard.shard_id}

    def _get_shard_iterator(self, asked: Json, now: int) -> Json:
        stream = self._stream(asked)
        shard = stream.shard(asked["ShardId"])
        if not shard.iterators.take(1, now):
            raise KinesisError("ProvisionedThroughputExceededException", f"Rate exceeded for shard {shard.shard_id}.")
        return {"ShardIterator": self._iterator(stream, shard, self._place(stream, shard, asked, now), now)}

    def _place(self, stream: Stream, shard: Shard, asked: Json, now: int) -> int:
        """The sequence number that reading starts behind."""
        kind = asked["ShardIteratorType"]
        numbered = kind in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER")
        if numbered != ("StartingSequenceNumber" in asked) or (kind == "AT_TIMESTAMP") != ("Timestamp" in asked):
            raise KinesisError("InvalidArgumentException", f"{kind} does not go with what else was given.")
        if kind == "TRIM_HORIZON":
            return 0
        if kind == "LATEST":
            return shard.newest
        if kind == "AT_TIMESTAMP":
            at = round(asked["Timestamp"] * 1000)
            if at > now:
                raise KinesisError("InvalidArgumentException", "The timestamp cannot be greater than the current one.")
            return next((one.sequence - 1 for one in shard.records if one.arrived >= at), shard.newest)
        number = int(asked["StartingSequenceNumber"])
        self._check_number(stream, shard, number)
        return number - 1 if kind == "AT_SEQUENCE_NUMBER" else number

    def _check_number(self, stream: Stream, shard: Shard, number: int) -> None:
        encoded, epoch = encoded_shard(number)
        if (epoch != shard.epoch and encoded == shard.number) or number > (shard.ending or shard.newest):
            raise KinesisError(
                "InvalidArgumentException",
                f"StartingSequenceNumber {number} used in GetShardIterator on shard {shard.shard_id} in stream "
                f"{stream.name} under account {ACCOUNT} is invalid because it did not come from this stream.",
            )
        if encoded != shard.number:
            raise KinesisError(
                "InvalidArgumentException",
                f"Invalid StartingSequenceNumber. It encodes shardId-{encoded:012d}, while it was used in a call to "
                f"{shard.shard_id}",
            )
        oldest = shard.records[0].sequence if shard.records else shard.newest
        if self.trimmed == "refused" and shard.starting < number < oldest:
            raise KinesisError(
                "InvalidArgumentException", f"StartingSequenceNumber {number} is older than the trim horizon."
            )

    def _iterator(self, stream: Stream, shard: Shard, after: int, now: int) -> str:
        self._serial += 1
        held = {"s": stream.name, "c": stream.created, "n": shard.shard_id, "a": str(after), "t": now}
        return pack(held | {"i": self._serial})

    def _get_records(self, asked: Json, now: int) -> Json:
        limit = asked.get("Limit", 10_000)
        if not 1 <= limit <= 10_000:
            raise KinesisError("InvalidArgumentException", f"Limit must be 1 to 10000, not {limit}.")
        held = unpack(asked["ShardIterator"], "ShardIterator")
        if now - held["t"] > _ITERATOR_LIFE or held["i"] <= self.expired_before:
            raise KinesisError(
                "ExpiredIteratorException",
                f"Iterator expired. The iterator was created at {held['t']} while right now it is {now} which is "
                f"further in the future than the tolerated delay of {_ITERATOR_LIFE} milliseconds.",
            )
        stream = self._stream({"StreamName": held["s"]})
        if stream.created != held["c"]:
            raise KinesisError("ResourceNotFoundException", f"Stream {stream.name} of this iterator was deleted.")
        shard, after = stream.shard(held["n"]), int(held["a"])
        empty = self.empty_pages > 0
        page, next_arrived = shard.read(after, 0 if empty else min(limit, self.page_records), now)
        self.empty_pages -= empty and next_arrived is not None
        if page:
            after = page[-1].sequence
        answer: Json = {
            "Records": [record_json(one) for one in page],
            "MillisBehindLatest": 0 if next_arrived is None else max(1, now - next_arrived),
        }
        ended = shard.closed is not None and next_arrived is None and not (page and self.end_alone)
        if ended:
            answer["ChildShards"] = [child_json(one) for one in stream.children(shard)]
        else:
            answer["NextShardIterator"] = self._iterator(stream, shard, after, now)
        if self.behind is not None and not ended:
            answer["MillisBehindLatest"] = self.behind
        return answer

    def expire_iterators(self) -> None:
        """Every iterator that was given out until now is too old."""
        with self._lock:
            self.expired_before = self._serial

    # What the operations look up

    def _stream(self, asked: Json) -> Stream:
        name = asked.get("StreamName") or asked.get("StreamARN", "").rpartition("/")[2]
        if name not in self.streams:
            raise KinesisError("ResourceNotFoundException", f"Stream {name} under account {ACCOUNT} not found.")
        return self.streams[name]

    def _active(self, asked: Json) -> Stream:
        stream = self._stream(asked)
        if stream.status != "ACTIVE":
            raise KinesisError(
                "ResourceInUseException",
                f"Stream {stream.name} under account {ACCOUNT} not ACTIVE, instead in state {stream.status}",
            )
        return stream

    def _writable(self, asked: Json) -> Stream:
        stream = self._stream(asked)
        if stream.status == "CREATING":
            raise KinesisError("ResourceNotFoundException", f"Stream {stream.name} under account {ACCOUNT} not found.")
        return stream
