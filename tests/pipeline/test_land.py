"""Kinesis -> lake: each record in exactly one object, through crashes, busy services and streams that forget."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.aws import client
from include.errors import LakeConflictError, LakeError, LeaseHeldError, StreamError
from include.lake import raw
from include.pipeline.land import LandReport, land
from include.settings import Settings
from include.stream import consumer
from include.stream.consumer import Batch, Record
from include.warehouse.db import connect
from include.warehouse.leases import lease
from tests.faults.proxy import Answer, aws_faults
from tests.stream.helpers import EmptyPage, keys, lake_lines, make_stream_again, put, quote, refusal


class Killed(BaseException):
    """What stands for a SIGKILL inside this process."""


def crash_at(patch: pytest.MonkeyPatch, name: str, module: str = "include.pipeline.land") -> None:
    def crash_point(here: str) -> None:
        if here == name:
            raise Killed(name)

    patch.setattr(f"{module}.crash_point", crash_point)


def killed_at(name: str, settings: Settings) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        crash_at(patch, name)
        land(settings)


def prices(settings: Settings) -> list[int]:
    """The payload prices of all lines in the lake, in order."""
    return [line["payload"]["price"] for line in lake_lines(settings)]


def rows(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    with connect(settings) as conn:
        return conn.execute(query).fetchall()


def test_what_arrived_becomes_one_object_with_its_range_written_down(settings: Settings) -> None:
    put(settings, quote(1), quote(2, "MSFT"))
    report = land(settings, run_id="r1")
    assert (report.objects, report.records, report.finished, report.lost) == (1, 2, 0, 0)
    first, second = lake_lines(settings)
    assert (first["symbol"], second["symbol"]) == ("AAPL", "MSFT")
    (key,) = keys(settings)
    hour = first["arrived_at"]
    stem = f"{settings.stream}-shardId-000000000000-{first['sequence_number']}-{second['sequence_number']}"
    assert key == f"raw/dt={hour[:10]}/hh={hour[11:13]}/{stem}.jsonl.gz"
    sha256 = raw.find(client(settings, "s3"), settings.bucket, key)
    assert rows(
        settings, "select s3_key, from_sequence, to_sequence, record_count, state, sha256 from ops.stream_ranges"
    ) == [(key, first["sequence_number"], second["sequence_number"], 2, "landed", sha256)]
    assert rows(settings, "select step, ok, row_count, run_id from ops.outcomes") == [("land", True, 2, "r1")]
    assert str(report).startswith("2 events of 2 records in 1 objects (")


def test_nothing_new_is_no_object(settings: Settings) -> None:
    put(settings, quote(1))
    land(settings)
    assert land(settings) == LandReport()
    assert prices(settings) == [1]


def test_landing_goes_on_behind_ranges_that_are_not_loaded_yet(settings: Settings) -> None:
    for n in (1, 2, 3):
        put(settings, quote(n))
        land(settings)
    assert prices(settings) == [1, 2, 3]
    assert len(keys(settings)) == 3


def test_what_is_no_json_is_landed_as_its_bytes(settings: Settings) -> None:
    put(settings, b"\xff{", quote(2))
    land(settings)
    assert [line.get("raw_base64") for line in lake_lines(settings)] == ["/3s=", None]


def test_objects_hold_no_more_records_and_bytes_than_the_settings_say(make_settings: Callable[..., Settings]) -> None:
    few = make_settings(batch_max_records=2)
    put(few, *map(quote, range(5)))
    assert land(few).objects == 3
    assert prices(few) == [0, 1, 2, 3, 4]
    small = make_settings(batch_max_bytes=1024)
    put(small, *[quote(n, note="x" * 300) for n in range(4)])
    assert land(small).objects == 4
    assert prices(small) == [0, 1, 2, 3]


def test_an_object_holds_one_hour_of_arrivals(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    one_to_two = datetime(2026, 1, 2, 13, 59, 59, 999000, tzinfo=UTC)
    records = [Record(str(n), one_to_two + timedelta(milliseconds=n), "AAPL", quote(n).to_json()) for n in (0, 1, 2)]
    monkeypatch.setattr(consumer, "read_batch", lambda *_, **__: Batch(records, 0, closed=False))
    assert land(settings).objects == 2
    shard = f"{settings.stream}-shardId-000000000000"
    assert keys(settings) == [
        f"raw/dt=2026-01-02/hh=13/{shard}-0-0.jsonl.gz", f"raw/dt=2026-01-02/hh=14/{shard}-1-2.jsonl.gz",
    ]  # fmt: skip


def test_every_shard_is_landed(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(shards=3)
    put(settings, *[quote(n, f"S{n}") for n in range(30)])
    assert land(settings).objects == 3
    assert sorted(prices(settings)) == list(range(30))


def test_a_child_waits_until_its_parent_is_read_to_the_end(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = consumer.describe(client(settings, "kinesis"), settings.stream)
    shards = (consumer.Shard("parent", (), True), consumer.Shard("child", ("parent",), False))
    pages = {"parent": [Batch([], 900, False), Batch([], 0, True)], "child": [Batch([], 0, False)]}
    seen: list[str] = []

    def read_batch(kinesis: object, stream: str, shard: str, *_: object, **__: object) -> Batch:
        seen.append(shard)
        return pages[shard].pop(0)

    monkeypatch.setattr(
        consumer, "describe", lambda *_: consumer.StreamInfo(stream.name, stream.created_at, stream.retention, shards)
    )
    monkeypatch.setattr(consumer, "read_batch", read_batch)
    assert land(settings).millis_behind == 900
    assert seen == ["parent"]
    land(settings)
    assert seen == ["parent", "parent", "child"]


@pytest.mark.parametrize("point", ["before_intent", "after_intent", "before_put_object", "after_put_object"])
def test_whoever_comes_after_a_crash_puts_the_same_object(settings: Settings, point: str) -> None:
    put(settings, quote(1), quote(2))
    killed_at(point, settings)
    put(settings, quote(3))  # a retry that cut anew would take it into the same object
    report = land(settings)
    assert prices(settings) == [1, 2, 3]
    if point == "before_intent":
        assert (report.finished, report.objects, len(keys(settings))) == (0, 1, 1)
    else:
        assert (report.finished, report.objects, len(keys(settings))) == (1, 2, 2)
        assert "1 finished for a process that died" in str(report)
    assert rows(settings, "select distinct state from ops.stream_ranges") == [("landed",)]


def test_two_at_once_is_one_too_many(settings: Settings) -> None:
    put(settings, quote(1))
    with connect(settings) as conn, lease(conn, "land", seconds=60), pytest.raises(LeaseHeldError):
        land(settings)
    assert keys(settings) == []
    assert rows(settings, "select step, ok, left(error, 35) from ops.outcomes") == [
        ("land", False, "LeaseHeldError: the step land runs ")
    ]


def test_a_lake_that_refuses_leaves_the_intent_for_the_next_run(settings: Settings) -> None:
    put(settings, quote(1))
    with aws_faults(settings) as (proxy, behind):
        proxy.add(Answer(403), method="PUT", times=None)
        with pytest.raises(LakeError, match="could not be written"):
            land(behind)
    assert rows(settings, "select state from ops.stream_ranges") == [("intended",)]
    assert land(settings).finished == 1
    assert prices(settings) == [1]


def test_other_content_under_the_key_stops_the_step(settings: Settings) -> None:
    put(settings, quote(1))
    killed_at("after_intent", settings)
    ((key,),) = rows(settings, "select s3_key from ops.stream_ranges")
    client(settings, "s3").put_object(Bucket=settings.bucket, Key=key, Body=raw.encode([b"forged\n"]))
    with pytest.raises(LakeConflictError, match="nothing was overwritten"):
        land(settings)
    assert rows(settings, "select state from ops.stream_ranges") == [("intended",)]


def test_a_busy_stream_is_waited_for(settings: Settings) -> None:
    put(settings, quote(1))
    with aws_faults(settings) as (proxy, behind):
        proxy.add(refusal("ProvisionedThroughputExceededException"), operation="GetRecords", times=3)
        proxy.add(EmptyPage(millis_behind=4000), operation="GetRecords", times=2)
        assert land(behind).records == 1


def test_a_stream_that_is_not_there_is_an_error_and_an_outcome(settings: Settings) -> None:
    client(settings, "kinesis").delete_stream(StreamName=settings.stream)
    with pytest.raises(StreamError, match=f"the stream {settings.stream} cannot be described"):
        land(settings)
    assert rows(settings, "select ok from ops.outcomes") == [(False,)]


def test_a_stream_made_again_is_read_from_its_beginning_and_that_is_said_once(settings: Settings) -> None:
    put(settings, quote(1))
    land(settings)
    make_stream_again(settings)
    put(settings, quote(2))
    land(settings)
    land(settings)
    assert prices(settings) == [1, 2]
    said = rows(settings, "select error from ops.outcomes where not ok")
    assert len(said) == 1
    assert f"the stream {settings.stream} was made again at" in said[0][0]
    assert rows(settings, "select rule, category, severity from marts.alerts") == [
        ("stream_loss", "operations", "warning")
    ]


def test_an_object_of_a_stream_that_is_gone_is_taken_as_it_is(settings: Settings) -> None:
    put(settings, quote(1))
    killed_at("after_put_object", settings)
    make_stream_again(settings)
    put(settings, quote(2))
    assert land(settings).finished == 1
    assert prices(settings) == [1, 2]
    assert rows(settings, "select state, sha256 is not null from ops.stream_ranges") == [("landed", True)] * 2


def test_a_range_that_the_stream_let_go_of_is_lost_with_an_error_an_outcome_and_an_alert(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    put(settings, quote(1), quote(2))
    killed_at("after_intent", settings)
    make_stream_again(settings)
    put(settings, quote(3))
    with caplog.at_level(logging.ERROR), pytest.raises(StreamError, match=r"\(2 records\) can no longer be read"):
        land(settings)
    assert "can no longer be read" in caplog.text
    assert prices(settings) == [3]
    assert rows(settings, "select state from ops.stream_ranges order by range_id") == [("lost",), ("landed",)]
    assert rows(settings, "select severity from marts.alerts where message like '%2 records%'") == [("critical",)]
    assert rows(settings, "select count(*) from ops.outcomes where error like '%2 records%' and detail ? 'lost'") == [
        (1,)
    ]
    assert land(settings).records == 0  # the next run goes on


def test_a_range_whose_records_were_trimmed_is_lost_and_the_rest_is_landed(settings: Settings) -> None:
    put(settings, quote(1), quote(2))
    killed_at("after_intent", settings)
    with connect(settings) as conn:  # as if there had been a record before the two that are left
        conn.execute(
            "update ops.stream_ranges set from_sequence = repeat('0', 30), record_count = 3, s3_key = 'raw/three'"
        )
    with pytest.raises(StreamError, match=r"no longer holds all records from 0+ to .*: its oldest record there is"):
        land(settings)
    assert prices(settings) == [1, 2]
    assert rows(settings, "select state, record_count from ops.stream_ranges order by range_id") == [
        ("lost", 3), ("landed", 2),
    ]  # fmt: skip


def test_a_shard_not_read_for_longer_than_the_stream_remembers_is_said_once_and_read_on(settings: Settings) -> None:
    put(settings, quote(1))
    land(settings)
    with connect(settings) as conn:
        conn.execute("update ops.shard_reads set read_until = read_until - interval '25 hours'")
    put(settings, quote(2))
    land(settings)
    land(settings)
    assert prices(settings) == [1, 2]
    said = rows(settings, "select error, detail ->> 'from' < detail ->> 'until' from ops.outcomes where not ok")
    assert len(said) == 1
    assert "longer than it keeps records (1 day, 0:00:00); what arrived before" in said[0][0]
    assert said[0][1]
    assert rows(settings, "select count(*) from ops.outbox") == [(1,)]
