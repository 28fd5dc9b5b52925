"""What a step left behind: events in the stream, outcomes, rows in quarantine."""

from __future__ import annotations

import json
from typing import Any

import pytest

from include.aws import client
from include.events import Event, parse_event
from include.pipeline import sending
from include.settings import Settings
from include.stream.aggregate import unpack
from include.stream.backoff import Backoff
from include.warehouse.db import connect


def in_stream(settings: Settings) -> list[Event]:
    """All events in the stream, in its order."""
    kinesis, events = client(settings, "kinesis"), []
    for shard in kinesis.list_shards(StreamName=settings.stream)["Shards"]:
        place = kinesis.get_shard_iterator(
            StreamName=settings.stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while records := (page := kinesis.get_records(ShardIterator=place))["Records"]:
            for record in records:
                for data in unpack(record["Data"]) or [record["Data"]]:
                    event = parse_event(json.loads(data))
                    assert record["PartitionKey"] == event.symbol
                    events.append(event)
            place = page["NextShardIterator"]
    return events


def outcomes(settings: Settings) -> list[tuple[Any, ...]]:
    with connect(settings) as conn:
        return conn.execute(
            "select step, source, window_start, window_end, ok, row_count, run_id, error, detail from ops.outcomes "
            "order by outcome_id"
        ).fetchall()


def quarantined(settings: Settings) -> list[tuple[Any, ...]]:
    with connect(settings) as conn:
        return conn.execute(
            "select origin, line_number, source, kind, symbol, reason, raw from raw.rejected_events order by 1, 2"
        ).fetchall()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The producer gives up after two attempts."""
    put = sending.put_records
    few = Backoff(attempts=2, sleep=lambda pause: None)
    monkeypatch.setattr(sending, "put_records", lambda *given, **more: put(*given, **more, backoff=few))
