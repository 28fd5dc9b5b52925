"""Lake -> warehouse: each object's rows, ledger row and checkpoint together, once, in the order of the shard."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from include.aws import client
from include.errors import LakeError, LeaseHeldError
from include.lake import raw
from include.pipeline.land import land
from include.pipeline.load import LoadReport, load, load_object
from include.settings import Settings
from include.warehouse.db import connect
from include.warehouse.leases import lease
from tests.faults.proxy import Cut, aws_faults
from tests.pipeline.test_land import Killed, crash_at, rows
from tests.stream.helpers import keys, lake_lines, put, quote

PRICES = "select (payload ->> 'price')::int from raw.landed_events order by load_id, line_number"


def landed(settings: Settings, *records: Any) -> str:
    """Put and land; the key of the object."""
    put(settings, *records)
    before = set(keys(settings))
    land(settings)
    (key,) = set(keys(settings)) - before
    return key


def killed_at(name: str, settings: Settings) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        crash_at(patch, name, "include.pipeline.load")
        load(settings)


def test_an_object_becomes_rows_a_ledger_row_and_a_checkpoint(settings: Settings) -> None:
    key = landed(settings, quote(1), b"{bad", quote(3, "MSFT"))
    assert load(settings, run_id="r1") == LoadReport(objects=1, events=2, quarantined=1)
    assert rows(settings, "select line_number, symbol, payload, kind from raw.landed_events order by 1") == [
        (1, "AAPL", {"price": 1}, "quote"), (3, "MSFT", {"price": 3}, "quote"),
    ]  # fmt: skip
    assert rows(settings, "select origin, line_number, raw from raw.rejected_events") == [(key, 2, b"{bad")]
    assert rows(settings, "select origin, state, is_live, read_count, quarantined_count from ops.loads") == [
        (key, "landed", True, 3, 1)
    ]
    last = lake_lines(settings)[-1]
    assert rows(settings, "select sequence_number, to_char(arrived_at, 'HH24:MI:SS.US') from ops.checkpoints") == [
        (last["sequence_number"], last["arrived_at"][11:26])
    ]
    assert rows(settings, "select state from ops.stream_ranges") == [("loaded",)]
    assert rows(settings, "select ok, row_count, run_id, detail from ops.outcomes where step = 'load'") == [
        (True, 2, "r1", {"objects": 1, "quarantined": 1, "known": 0})
    ]


def kpl(*events: bytes) -> bytes:
    """A record as the Kinesis Producer Library aggregates it: a protobuf of keys and records, and its MD5."""

    def field(number: int, data: bytes) -> bytes:
        length = bytes([len(data) & 127 | 128, len(data) >> 7]) if len(data) > 127 else bytes([len(data)])
        return bytes([number << 3 | 2]) + length + data

    body = field(1, b"AAPL") + b"".join(field(3, b"\x08\x00" + field(3, event)) for event in events)
    return b"\xf3\x89\x9a\xc2" + body + hashlib.md5(body, usedforsecurity=False).digest()


def test_a_record_of_the_kinesis_producer_library_goes_to_quarantine_whole_and_its_neighbours_are_loaded(
    settings: Settings,
) -> None:
    foreign = kpl(quote(2).to_json(), quote(3).to_json())
    landed(settings, quote(1), foreign, quote(4))
    assert load(settings) == LoadReport(objects=1, events=2, quarantined=1)
    assert rows(settings, PRICES) == [(1,), (4,)]
    assert rows(settings, "select line_number, raw, reason from raw.rejected_events") == [
        (2, foreign, "a record aggregated by the Kinesis Producer Library; send each event as a record of its own"),
    ]  # fmt: skip


def test_loads_follow_the_order_of_the_shard(settings: Settings) -> None:
    for n in (1, 2, 3):
        landed(settings, quote(n))
    assert str(load(settings)) == "3 events of 3 objects"
    assert rows(settings, PRICES) == [(1,), (2,), (3,)]
    assert load(settings) == LoadReport()


@pytest.mark.parametrize("point", ["before_load_commit", "after_load_commit"])
def test_a_crash_around_the_commit_loads_neither_twice_nor_not_at_all(settings: Settings, point: str) -> None:
    for n in (1, 2):
        landed(settings, quote(n))
    killed_at(point, settings)
    done = 1 if point == "after_load_commit" else 0
    assert rows(settings, PRICES) == [(1,)][:done]
    assert rows(settings, "select count(*) from ops.checkpoints") == [(done,)]
    assert load(settings).objects == 2 - done
    assert rows(settings, PRICES) == [(1,), (2,)]


def test_two_at_once_is_one_too_many(settings: Settings) -> None:
    landed(settings, quote(1))
    with connect(settings) as conn, lease(conn, "load", seconds=60), pytest.raises(LeaseHeldError):
        load(settings)
    assert rows(settings, PRICES) == []


def test_an_object_that_cannot_be_read_stops_its_shard_and_no_other(make_settings: Any) -> None:
    settings = make_settings(shards=2)
    for n in (1, 2):
        put(settings, *[quote(n, f"S{m}") for m in range(10)])
        land(settings)
    ((key, shard),) = rows(settings, "select s3_key, shard_id from ops.stream_ranges order by range_id limit 1")
    client(settings, "s3").delete_object(Bucket=settings.bucket, Key=key)
    with pytest.raises(LakeError, match=f"{key} does not exist"):
        load(settings)
    states = rows(settings, "select shard_id, state from ops.stream_ranges order by range_id")
    assert sorted((one == shard, state) for one, state in states) == [(False, "loaded")] * 2 + [(True, "landed")] * 2
    assert rows(settings, "select ok from ops.outcomes where step = 'load'") == [(False,)]


def test_an_object_with_other_content_than_was_landed_is_refused(settings: Settings) -> None:
    key = landed(settings, quote(1))
    client(settings, "s3").put_object(Bucket=settings.bucket, Key=key, Body=raw.encode([quote(9).to_json()]))
    with pytest.raises(LakeError, match=f"{key} is not what was written"):
        load(settings)
    assert rows(settings, PRICES) == []


@pytest.mark.parametrize("count", ["event_count", "record_count"])
def test_an_object_with_fewer_lines_or_records_than_its_range_is_refused(settings: Settings, count: str) -> None:
    landed(settings, quote(1))
    with connect(settings) as conn:
        conn.execute(f"update ops.stream_ranges set {count} = 2")
    with pytest.raises(LakeError, match=r"has 1 lines of 1 records, but its range has . events of . records"):
        load(settings)
    assert rows(settings, "select count(*) from ops.loads") == [(0,)]


def test_a_lake_that_cuts_answers_off_is_asked_again(settings: Settings) -> None:
    landed(settings, quote(1))
    with aws_faults(settings) as (proxy, behind):
        proxy.add(Cut(0.7), method="GET", times=2)
        assert load(behind).events == 1


def test_a_lost_checkpoint_neither_doubles_nor_skips(settings: Settings) -> None:
    landed(settings, quote(1))
    load(settings)
    with connect(settings) as conn:
        conn.execute("delete from ops.checkpoints")
    landed(settings, quote(2))
    load(settings)
    assert rows(settings, PRICES) == [(1,), (2,)]


def test_a_warehouse_that_forgot_the_stream_reads_it_again_and_knows_the_objects(settings: Settings) -> None:
    landed(settings, quote(1))
    load(settings)
    with connect(settings) as conn:
        conn.execute("truncate ops.checkpoints, ops.stream_ranges, ops.shard_reads")
    assert land(settings).records == 1  # the same bytes under the same key
    assert load(settings) == LoadReport(known=1)
    assert rows(settings, PRICES) == [(1,)]


def test_a_replay_loads_an_object_without_moving_a_checkpoint(settings: Settings) -> None:
    key = landed(settings, quote(1), b"{bad")
    assert load_object(settings, key, run_id="replay") == LoadReport(objects=1, events=1, quarantined=1)
    assert rows(settings, "select origin, is_live from ops.loads") == [(key, False)]
    assert rows(settings, "select count(*) from ops.checkpoints") == [(0,)]
    assert load_object(settings, key) == LoadReport(known=1)
    assert load_object(settings, key, origin=f"{key}#again").events == 1
    assert rows(settings, PRICES) == [(1,), (1,)]


def test_an_object_that_is_not_there_is_an_error_and_an_outcome(settings: Settings) -> None:
    with pytest.raises(LakeError, match="raw/none does not exist"):
        load_object(settings, "raw/none")
    assert rows(settings, "select ok, detail ->> 'key' from ops.outcomes") == [(False, "raw/none")]


POINTS = {
    "include.pipeline.land": ["before_intent", "after_intent", "before_put_object", "after_put_object"],
    "include.pipeline.load": ["before_load_commit", "after_load_commit"],
}
STEPS = st.one_of(
    st.tuples(st.just("put"), st.integers(1, 5)),
    st.tuples(
        st.just("land"), st.none() | st.tuples(st.sampled_from(POINTS["include.pipeline.land"]), st.integers(1, 3))
    ),
    st.tuples(
        st.just("load"), st.none() | st.tuples(st.sampled_from(POINTS["include.pipeline.load"]), st.integers(1, 3))
    ),
)
_streams = itertools.count()


def run(step: Any, module: str, settings: Settings, crash: tuple[str, int] | None) -> None:
    """One run of a step, killed at the n-th passage of a crash point if asked."""
    passages = itertools.count(1)

    def crash_point(here: str) -> None:
        if crash is not None and here == crash[0] and next(passages) == crash[1]:
            raise Killed(here)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{module}.crash_point", crash_point)
        with contextlib.suppress(Killed):
            step(settings)


@given(steps=st.lists(STEPS, max_size=12), batch=st.integers(1, 4))
@hypothesis_settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_however_a_stream_is_cut_and_whoever_dies_each_record_is_in_one_object_and_one_row(
    settings: Settings, steps: list[tuple[str, Any]], batch: int
) -> None:
    name = f"{settings.stream}-{next(_streams)}"
    settings = settings.model_copy(update={"stream": name, "bucket": name.lower(), "batch_max_records": batch})
    client(settings, "kinesis").create_stream(StreamName=name, ShardCount=1)
    client(settings, "s3").create_bucket(Bucket=settings.bucket)
    with connect(settings) as conn:
        conn.execute("truncate raw.landed_events, ops.loads, ops.stream_ranges, ops.checkpoints, ops.shard_reads")
    sent = 0
    for what, how in [*steps, ("land", None), ("load", None)]:
        if what == "put":
            put(settings, *[quote(sent + n) for n in range(how)])
            sent += how
        elif what == "land":
            run(land, "include.pipeline.land", settings, how)
        else:
            run(load, "include.pipeline.load", settings, how)

    lines = lake_lines(settings)
    assert [line["payload"]["price"] for line in lines] == list(range(sent))
    assert rows(settings, PRICES) == [(n,) for n in range(sent)]
    assert rows(settings, "select origin from ops.loads order by origin") == [(key,) for key in sorted(keys(settings))]
    if sent:
        last = (lines[-1]["sequence_number"],)
        assert rows(settings, "select sequence_number from ops.checkpoints") == [last]
        assert rows(settings, "select distinct state from ops.stream_ranges") == [("loaded",)]
