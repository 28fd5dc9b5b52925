"""A span of the lake read once more: what is there stays as it is, what is taken today comes in, the rest is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from include.aws import client
from include.errors import ConfigError, LakeError, LoadRejectedError
from include.events import Window
from include.instruments import register
from include.lake import raw
from include.pipeline.lake_replay import Progress, plan_replay, replay_lake
from include.pipeline.transform import transform
from include.settings import Settings
from include.warehouse.checksums import mart_checksums
from include.warehouse.db import connect
from tests import processes
from tests.replay.minutes import HOUR, NOW, TODAY, do, keys, minute, prices, quarantine, query, quote

pytestmark = pytest.mark.stack


@pytest.fixture
def lenient(make_settings: Callable[..., Settings], template_marts: str) -> Settings:
    """A platform that takes a load however many of its rows are bad."""
    return make_settings(template=template_marts, audit_max_bad_share=1.0, audit_min_symbol_share=0.0)


def test_what_is_there_already_stays_as_it_is(lenient: Settings) -> None:
    minute(lenient, quote("BTC-USD", 1), quote("ETH-USD", 2))
    transform(lenient)
    with connect(lenient) as conn:
        before = mart_checksums(conn)

        report = replay_lake(lenient, TODAY)

        assert (report.objects, report.events, report.inserted, report.duplicates) == (1, 2, 0, 2)
        transform(lenient)
        assert mart_checksums(conn) == before


def test_what_was_lost_in_the_warehouse_comes_back_from_the_lake(lenient: Settings) -> None:
    minute(lenient, quote("BTC-USD", 1), quote("ETH-USD", 2))
    do(lenient, "delete from raw.market_events where symbol = 'BTC-USD'")

    assert replay_lake(lenient, TODAY).inserted == 1

    assert prices(lenient) == [("BTC-USD", 1), ("ETH-USD", 2)]


def test_a_quarantined_line_that_is_taken_today_comes_in_and_a_bad_one_stays_once(lenient: Settings) -> None:
    minute(lenient, quote("BTC-USD", 1), quote("NEW-USD", 2), b"no json", quote("ETH-USD", -3))
    assert quarantine(lenient) == [
        ("no JSON", "open"),
        ("symbol_", "open"),
        ("price_i", "open"),
    ]
    with connect(lenient) as conn:
        register(conn, ["NEW-USD"], "crypto")

    first = replay_lake(lenient, TODAY)
    again = replay_lake(lenient, TODAY)

    assert prices(lenient) == [("BTC-USD", 1), ("NEW-USD", 2)]
    assert (first.inserted, first.duplicates, first.released, first.bad) == (1, 1, 1, 2)
    assert (again.inserted, again.duplicates, again.released, again.bad) == (0, 2, 0, 2)
    assert quarantine(lenient) == [
        ("no JSON", "open"),
        ("symbol_", "released"),
        ("price_i", "open"),
    ]
    ((origin,),) = query(
        lenient,
        "select l.origin from raw.rejected_events as r join ops.loads as l on l.load_id = r.released_by",
    )
    assert origin == f"{keys(lenient)[0]} replay {first.replay_id}"
    assert replay_lake(lenient, TODAY, replay_id=first.replay_id).known == 1
    assert [state for _, state in quarantine(lenient)] == ["open", "released", "open"]
    transform(lenient)  # its audit finds every row of these loads accounted for


def test_only_the_lines_of_the_sources_asked_for_are_read(lenient: Settings) -> None:
    minute(lenient, quote("NEW-USD", 1), quote("NEW-USD", 2, source="coinbase"), b"no json", quote("BTC-USD", 3))
    with connect(lenient) as conn:
        register(conn, ["NEW-USD"], "crypto")

    report = replay_lake(lenient, TODAY, sources=["coinbase"])

    assert (report.events, report.released) == (1, 1)
    assert prices(lenient) == [("NEW-USD", 2), ("BTC-USD", 3)]


def test_a_rejected_load_comes_in_with_todays_rules(
    make_settings: Callable[..., Settings], template_marts: str
) -> None:
    strict = make_settings(template=template_marts, audit_max_bad_share=0.01, audit_min_symbol_share=0.0)
    with pytest.raises(LoadRejectedError):
        minute(strict, quote("NEW-USD", 1), quote("BTC-USD", 2))
    with pytest.raises(LoadRejectedError, match=r"1 objects FAILED(.|\n)*quantstream replay --resume"):
        replay_lake(strict, TODAY)
    with connect(strict) as conn:
        register(conn, ["NEW-USD"], "crypto")

    assert replay_lake(strict, TODAY).inserted == 2

    assert prices(strict) == [("NEW-USD", 1), ("BTC-USD", 2)]


def test_objects_are_chosen_by_when_they_arrived(lenient: Settings) -> None:
    minute(lenient, quote("BTC-USD", 1))
    ((arrived_at,),) = query(lenient, "select arrived_at from ops.stream_ranges")
    tick = timedelta(milliseconds=1)

    assert len(plan_replay(lenient, Window(arrived_at, arrived_at + tick)).files) == 1
    assert len(plan_replay(lenient, Window(arrived_at - tick, arrived_at)).files) == 0
    assert len(plan_replay(lenient, Window(arrived_at + tick, arrived_at + HOUR)).files) == 0
    do(lenient, "delete from ops.stream_ranges")  # then the object itself tells
    assert len(plan_replay(lenient, Window(arrived_at, arrived_at + tick)).files) == 1
    assert len(plan_replay(lenient, Window(arrived_at + tick, arrived_at + HOUR)).files) == 0


def test_the_preview_counts_what_is_known_and_changes_nothing(lenient: Settings) -> None:
    minute(lenient, quote("BTC-USD", 1), quote("ETH-USD", 2), b"no json")
    plan = plan_replay(lenient, TODAY)
    size = client(lenient, "s3").head_object(Bucket=lenient.bucket, Key=keys(lenient)[0])["ContentLength"]
    assert (len(plan.files), plan.bytes, plan.events) == (1, size, 3)
    do(lenient, "update ops.loads set origin = 'forgotten'")
    assert plan_replay(lenient, TODAY).events is None
    assert query(lenient, "select count(*) from ops.replays") == [(0,)]


def test_each_object_that_cannot_be_read_is_named_with_the_remedy_and_the_others_come_in(lenient: Settings) -> None:
    for price in range(6):
        minute(lenient, quote("BTC-USD", price, seconds=price) if price else quote("BTC-USD", 0.5))
    do(lenient, "truncate raw.market_events")
    gone, cut, other, archived, damaged, _ = keys(lenient)
    s3, bucket = client(lenient, "s3"), lenient.bucket
    body = s3.get_object(Bucket=bucket, Key=cut)["Body"].read()
    s3.delete_object(Bucket=bucket, Key=gone)
    s3.put_object(Bucket=bucket, Key=cut, Body=body[:-12])
    s3.put_object(Bucket=bucket, Key=other, Body=body, Metadata={"sha256": "0" * 64})
    s3.put_object(Bucket=bucket, Key=archived, Body=body, StorageClass="GLACIER")
    s3.put_object(Bucket=bucket, Key=damaged, Body=b"no gzip at all")

    with pytest.raises(LakeError) as failed:
        replay_lake(lenient, TODAY)

    said = str(failed.value)
    assert "5 objects FAILED" in said and prices(lenient) == [("BTC-USD", 5)]
    for key, remedy in (
        (gone, "is in the ledger (ops.stream_ranges) and not in the lake; bring it back"),
        (cut, "is no whole gzip file"),
        (other, "is not what was written"),
        (archived, "aws s3api restore-object"),
        (damaged, "is no whole gzip file"),
    ):
        assert any(key in line and remedy in line for line in said.splitlines()), (key, remedy, said)


def test_an_interrupted_replay_goes_on_where_it_was(lenient: Settings) -> None:
    for price in (1, 2, 3):
        minute(lenient, quote("BTC-USD", price, seconds=price))
    do(lenient, "truncate raw.market_events")

    for point in ("before_load_commit", "after_load_commit:2", "before_audit_commit:2", "after_audit_commit"):
        ended = processes.run(lambda: replay_lake(lenient, TODAY, replay_id="one"), {"QUANTSTREAM_CRASH_AT": point})
        assert ended.killed, point
    report = replay_lake(lenient, TODAY, replay_id="one")

    assert prices(lenient) == [("BTC-USD", 1), ("BTC-USD", 2), ("BTC-USD", 3)]
    assert report.known + report.objects == 3
    assert query(lenient, "select count(*) from ops.loads where origin like '%% replay one'") == [(3,)]
    assert replay_lake(lenient, TODAY, replay_id="one").known == 3


def test_several_processes_read_what_one_reads(lenient: Settings) -> None:
    for price in (1, 2, 3, 4, 5):
        minute(lenient, quote("BTC-USD", price, seconds=price))
    do(lenient, "truncate raw.market_events")
    seen: list[Progress] = []

    report = replay_lake(lenient, TODAY, jobs=2, progress=seen.append)

    assert (report.objects, report.inserted) == (5, 5)
    assert prices(lenient) == [("BTC-USD", price) for price in (1, 2, 3, 4, 5)]
    assert [(one.objects, one.of_objects) for one in seen] == [(n, 5) for n in (1, 2, 3, 4, 5)]


def test_it_runs_beside_the_live_steps_and_does_not_move_their_checkpoints(lenient: Settings) -> None:
    from include.warehouse.leases import lease

    minute(lenient, quote("BTC-USD", 1))
    before = query(lenient, "select * from ops.checkpoints")
    with connect(lenient) as conn, lease(conn, "load", seconds=60), lease(conn, "audit", seconds=60):
        assert replay_lake(lenient, TODAY).duplicates == 1
    assert query(lenient, "select * from ops.checkpoints") == before


def test_what_an_object_says_about_completeness_waits_for_the_other_shards(lenient: Settings) -> None:
    from include.warehouse import ranges
    from include.warehouse.leases import lease

    minute(lenient, replace(quote("BTC-USD", 1), complete_until=NOW))
    ((stream, made, shard),) = query(lenient, "select stream, stream_created_at, shard_id from ops.shard_reads")
    do(lenient, "truncate ops.watermarks")
    with connect(lenient) as conn, lease(conn, "land", seconds=60) as held:
        ranges.note_read(held, stream, made, "shardId-000000000009", made)  # another shard, unread until now

        replay_lake(lenient, TODAY)
        assert query(lenient, "select * from ops.watermarks") == []

        ranges.note_read(held, stream, made, "shardId-000000000009", NOW + HOUR)
    replay_lake(lenient, TODAY)
    assert query(lenient, "select complete_until from ops.watermarks") == [(NOW,)]
    assert shard != "shardId-000000000009"


def test_objects_named_by_their_keys_are_read_and_no_others(lenient: Settings) -> None:
    for price in (1, 2):
        minute(lenient, quote("BTC-USD", price, seconds=price))
    do(lenient, "truncate raw.market_events")
    replay_lake(lenient, TODAY, keys=keys(lenient)[1:])
    assert prices(lenient) == [("BTC-USD", 2)]
    with pytest.raises(ConfigError, match=r"'notes\.txt' is no key of a raw object"):
        replay_lake(lenient, TODAY, keys=["notes.txt"])


def test_history_is_read_like_everything_else(lenient: Settings) -> None:
    key = f"raw/dt={NOW:%Y-%m-%d}/hh={NOW:%H}/history-simulator-quote-20260101-one.jsonl.gz"
    body = raw.encode([quote("BTC-USD", 7, at=NOW - 100 * HOUR).to_json() + b"\n"])
    raw.put_once(client(lenient, "s3"), lenient.bucket, key, body)

    assert [file.source for file in plan_replay(lenient, TODAY).files] == ["simulator"]
    assert plan_replay(lenient, TODAY, sources=["coinbase"]).files == ()
    assert replay_lake(lenient, TODAY).inserted == 1
    assert prices(lenient) == [("BTC-USD", 7)]
