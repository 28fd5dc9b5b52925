"""The warehouse out of the lake: the same marts, after a total loss and over a wrecked one, killed anywhere; no pages.

What is done here is what the runbook docs/runbooks/rebuild_the_warehouse.md says.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

import pytest
from pydantic import SecretStr

from include import crashpoints
from include.aws import client
from include.errors import LakeError, LeaseHeldError
from include.lake import raw
from include.pipeline import rebuild as module
from include.pipeline.cycle import process
from include.pipeline.land import land
from include.pipeline.rebuild import RebuildProgress, interrupted, rebuild
from include.settings import Settings
from include.stack import local_aws
from include.warehouse.checksums import Checksum, differences, mart_checksums
from include.warehouse.db import connect
from include.warehouse.leases import lease
from tests import processes
from tests.conftest import Servers, make_warehouse, warehouse_settings
from tests.replay.lived import live
from tests.replay.minutes import NOW, do, query, quote

pytestmark = pytest.mark.stack

COUNTS = """
select (select count(*) from raw.market_events),
       (select count(*) from raw.rejected_events where load_id is not null and released_by is null),
       (select count(*) from ops.registered_instruments),
       (select count(*) from ops.loads where state = 'rejected'),
       (select array_agg(w order by w) from (select source, complete_until from ops.watermarks) as w)::text,
       (select array_agg(c order by c) from (
           select stream, stream_created_at, shard_id, sequence_number from ops.checkpoints) as c)::text,
       (select array_agg(r order by r) from (
           select s3_key, from_sequence, to_sequence, record_count, event_count, arrived_at from ops.stream_ranges
           where state = 'loaded') as r)::text
"""


@dataclass(frozen=True)
class Lived:
    """A platform that has lived, with the checksums of its marts and what else must be the same afterwards."""

    servers: Servers
    settings: Settings
    database: str
    marts: dict[str, Checksum]
    counts: tuple[object, ...]

    def beside(self, *, template: str) -> Settings:
        """The same lake and stream with another database."""
        name = f"again_{uuid.uuid4().hex[:8]}"
        make_warehouse(self.servers, name, template=template)
        other = warehouse_settings(self.servers, name)
        dsns = {name: getattr(other, name) for name in ("owner_dsn", "warehouse_dsn", "analyst_dsn")}
        return self.settings.model_copy(update={**dsns, "home": other.home})

    def lost(self) -> Settings:
        """The database is gone; an empty one was made in its place."""
        return self.beside(template="template0")

    def is_again(self, settings: Settings) -> bool:
        with connect(settings) as conn:
            assert differences(self.marts, mart_checksums(conn)) == []
        assert query(settings, COUNTS) == [self.counts]
        return True


@pytest.fixture(scope="module")
def lived(servers: Servers, template_marts: str, tmp_path_factory: pytest.TempPathFactory) -> Lived:
    name = f"lived_{uuid.uuid4().hex[:8]}"
    make_warehouse(servers, name, template=template_marts)
    settings = warehouse_settings(servers, name, simulator_trades_per_minute=2)
    arranged = local_aws.provision(settings)
    settings = settings.model_copy(update={"topic_arn": arranged.topic_arn, "inbox_url": arranged.inbox_url})
    live(settings, tmp_path_factory.mktemp("files"))
    with connect(settings) as conn:
        marts = mart_checksums(conn)
    assert marts["alerts"].rows and marts["trades"].rows and marts["indicators_1m"].rows
    return Lived(servers, settings, name, marts, query(settings, COUNTS)[0])


@pytest.fixture
def lost(lived: Lived) -> Iterator[Settings]:
    settings = lived.lost()
    yield settings
    _drop(lived, settings)


@pytest.fixture
def wrecked(lived: Lived) -> Iterator[Settings]:
    """A copy of the warehouse as it was, for tests that damage it."""
    settings = lived.beside(template=lived.database)
    yield settings
    _drop(lived, settings)


def _drop(lived: Lived, settings: Settings) -> None:
    assert isinstance(settings.warehouse_dsn, SecretStr)
    name = settings.warehouse_dsn.get_secret_value().rsplit("/", 1)[1]
    with lived.servers.admin() as conn:
        conn.execute(f'drop database if exists "{name}" with (force)')


def test_after_a_total_loss_every_mart_is_the_same_and_nobody_is_paged(lived: Lived, lost: Settings) -> None:
    seen: list[RebuildProgress] = []
    report = rebuild(lost, progress=seen.append)

    assert lived.is_again(lost)
    assert report.rejected == 0 and report.before is None
    assert query(lost, "select count(*) from ops.outbox where sent_at is null") == [(0,)]
    sent = "select alert_key, sent_at from marts.alerts where state = 'sent' order by 1"
    assert query(lost, sent) == query(lived.settings, sent) != []
    assert query(lost, "select * from marts.alerts where state = 'new'") == []
    assert [one.tally.objects for one in seen if one.tally][-1] == report.objects
    # history that was covered is covered again
    spans = "select source, kind, symbol, covered_from, covered_until, events, ended from ops.history_coverage"
    assert query(lost, spans + " order by 1, 2, 3, 4") == query(lived.settings, spans + " order by 1, 2, 3, 4")
    pieces = "select s3_key, state, load_id is not null from ops.history_pieces"
    assert query(lost, pieces) == query(lived.settings, pieces)
    # and life goes on where it was: nothing is landed twice, nothing is sent
    steps = process(lost)
    assert not [step for step in steps if step.error], steps
    assert lived.is_again(lost)
    assert land(lost).objects == 0


def test_a_process_whose_clock_is_ahead_pages_nobody_either(
    lived: Lived, lost: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found since the rebuild began is told by the database's clock."""

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.now(tz) + timedelta(hours=1)

    monkeypatch.setattr(module, "datetime", Ahead)
    rebuild(lost)
    assert query(lost, "select rule, state from marts.alerts where state = 'new'") == []
    assert query(lost, "select count(*) from ops.outbox where sent_at is null") == [(0,)]
    ((ahead,),) = query(lost, "select started_at > clock_timestamp() from ops.rebuilds")
    assert not ahead


def test_over_a_wrecked_warehouse_alerts_that_were_sent_stay_sent(lived: Lived, wrecked: Settings) -> None:
    sent = query(wrecked, "select alert_key, state from marts.alerts order by 1")
    do(wrecked, "update raw.market_events set payload = payload || '{\"price\": 1}' where kind = 'quote'")
    do(wrecked, "delete from marts.candles_1m")
    do(wrecked, "delete from ops.checkpoints")

    report = rebuild(wrecked)

    assert lived.is_again(wrecked)
    assert {line.split(":")[0] for line in report.changed} >= {"marts.candles_1m"}
    assert query(wrecked, "select alert_key, state from marts.alerts order by 1") == sent


def test_over_a_whole_warehouse_it_says_that_nothing_changed(lived: Lived, wrecked: Settings) -> None:
    report = rebuild(wrecked, jobs=2)
    assert report.changed == [] and report.before == lived.marts
    assert "all marts are as they were" in str(report)


def test_killed_at_every_point_in_turn_it_goes_on_where_it_was_and_ends_the_same(lived: Lived, lost: Settings) -> None:
    points = (
        "before_rebuild_emptied", "after_rebuild_emptied", "before_load_commit:2", "after_load_commit:2",
        "before_audit_commit:2", "after_audit_commit", "before_rebuild_phase", "after_rebuild_phase", "after_dbt",
        "after_transform_commit", "before_alert_commit", "after_alert_commit", "before_rebuild_phase",
    )  # fmt: skip
    assert {name for name in crashpoints.REPLAY_NAMES if "rebuild" in name} <= {one.split(":")[0] for one in points}
    for point in points:
        ended = processes.run(lambda: rebuild(lost), {"QUANTSTREAM_CRASH_AT": point})
        assert ended.killed, f"nothing passes {point}"
        assert (interrupted(lost) is None) == (point == "before_rebuild_emptied")
    rebuild(lost)
    assert lived.is_again(lost)
    assert interrupted(lost) is None


def test_it_refuses_while_a_step_or_a_backfill_works_and_changes_nothing(lived: Lived, wrecked: Settings) -> None:
    for name in ("load", "history binance bar 2026-01-01T00:00:00Z", "lake_replay abc"):
        with connect(wrecked) as conn, lease(conn, name, seconds=60), pytest.raises(LeaseHeldError, match=name):
            rebuild(wrecked, patience=0.3)
    assert lived.is_again(wrecked)
    assert interrupted(wrecked) is None


def test_it_empties_nothing_where_the_lake_lacks_what_the_warehouse_was_made_of(
    lived: Lived, wrecked: Settings
) -> None:
    elsewhere = wrecked.model_copy(update={"bucket": f"{wrecked.bucket}-empty"})
    client(wrecked, "s3").create_bucket(Bucket=elsewhere.bucket)
    with pytest.raises(LakeError, match=r"are in the ledger and not in the lake .*nothing was emptied"):
        rebuild(elsewhere)
    assert lived.is_again(wrecked)


def test_an_object_that_cannot_be_read_stops_it_after_all_others_and_it_goes_on_once_that_is_mended(
    lived: Lived, lost: Settings
) -> None:
    s3, bucket = client(lost, "s3"), lost.bucket
    ((key,),) = query(lived.settings, "select s3_key from ops.stream_ranges order by range_id limit 1")
    there = s3.get_object(Bucket=bucket, Key=key)
    body = there["Body"].read()
    s3.put_object(Bucket=bucket, Key=key, Body=body[:-20])
    try:
        with pytest.raises(LakeError, match=rf"(?s)1 objects cannot be read; all others are loaded.*{key}"):
            rebuild(lost)
    finally:
        s3.put_object(Bucket=bucket, Key=key, Body=body, Metadata=there["Metadata"])
    rebuild(lost)
    assert lived.is_again(lost)


def test_a_stream_that_is_gone_is_no_hindrance(lived: Lived, lost: Settings) -> None:
    without = lost.model_copy(update={"stream": "gone-for-good"})
    report = rebuild(without)
    with connect(lost) as conn:
        assert differences(lived.marts, mart_checksums(conn)) == []
    assert "there is no stream" in report.notes[0]
    assert query(lost, "select * from ops.checkpoints") == []


def test_an_empty_lake_makes_an_empty_warehouse(marts_settings: Settings) -> None:
    report = rebuild(marts_settings)
    assert (report.objects, report.events, report.changed) == (0, 0, [])


def test_history_of_which_nothing_is_noted_is_covered_as_far_as_its_events_reach(marts_settings: Settings) -> None:
    hour = NOW.replace(minute=0, second=0)
    key = raw.history_key("simulator", "quote", hour.date(), "one", hour)
    lines = [quote("BTC-USD", 100, at=hour + timedelta(minutes=n)).to_json() + b"\n" for n in range(3)]
    raw.put_once(client(marts_settings, "s3"), marts_settings.bucket, key, raw.encode(lines))
    rebuild(marts_settings)
    end = hour + timedelta(minutes=2, microseconds=1)
    spans = "select symbol, asked_as, covered_from, covered_until, events, ended from ops.history_coverage"
    assert query(marts_settings, spans) == [("BTC-USD", "BTC-USD", hour, end, 3, "events")]
