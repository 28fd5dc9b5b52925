"""What only the warehouse knows is noted in the lake, once, and comes back from there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from include.alerts import Alert
from include.aws import client
from include.instruments import known_instruments, register
from include.lake.notes import read_notes
from include.pipeline import keepsakes
from include.pipeline.notify import notify
from include.settings import Settings
from include.warehouse.alerts import insert_alerts
from include.warehouse.db import connect
from include.warehouse.models import add_model, approved_models, decide
from include.warehouse.mutes import add_mute, end_mute, read_mutes
from tests.faults.proxy import Answer, aws_faults
from tests.replay.minutes import do, query

pytestmark = pytest.mark.stack

CANDLE = datetime(2026, 3, 2, 12, tzinfo=UTC)
ALERT = Alert("zscore", "market", "warning", "up", "AAPL", CANDLE, "up", 3.5, 3.0)
ALERTS = (
    "select alert_key, rule, symbol, candle_start, value, message, state, sent_at, latency_seconds from marts.alerts "
    "order by 1"
)


def send(settings: Settings, *alerts: Alert) -> None:
    with connect(settings) as conn, conn.transaction():
        insert_alerts(conn, alerts)
    notify(settings)


def notes(settings: Settings, kind: str) -> int:
    return len(list(read_notes(client(settings, "s3"), settings.bucket, kind)))  # type: ignore[arg-type]


def in_another_database(settings: Settings, make_settings: Callable[..., Settings]) -> Settings:
    other = make_settings()
    return settings.model_copy(update={"owner_dsn": other.owner_dsn, "warehouse_dsn": other.warehouse_dsn})


def test_alerts_that_were_sent_are_noted_as_they_go_out_and_come_back_as_sent(
    settings: Settings, make_settings: Callable[..., Settings]
) -> None:
    send(settings, ALERT)
    send(settings, Alert("change", "market", "info", "down", "MSFT", CANDLE))
    other = in_another_database(settings, make_settings)
    with connect(other) as conn:
        assert keepsakes.restore(other, conn) == (0, 2)
        assert keepsakes.restore(other, conn) == (0, 0)
    assert query(other, ALERTS) == query(settings, ALERTS)
    send(other, ALERT)  # found again: nobody hears of it twice
    assert query(other, "select count(*) from ops.outbox") == [(0,)]


def test_an_alert_that_waits_is_not_noted(settings: Settings) -> None:
    with connect(settings) as conn, conn.transaction():
        insert_alerts(conn, [ALERT])
    assert keepsakes.keep(settings) == 0


def test_no_alert_waits_for_the_lake_and_the_next_run_notes_it(settings: Settings) -> None:
    with aws_faults(settings) as (proxy, behind):
        proxy.add(Answer(503, b"SlowDown"), method="PUT", times=None)
        send(behind, ALERT)
    assert query(settings, "select state from marts.alerts") == [("sent",)]
    assert notes(settings, "alerts") == 0
    notify(settings)
    assert notes(settings, "alerts") == 1


def test_instruments_come_back(settings: Settings, make_settings: Callable[..., Settings]) -> None:
    with connect(settings) as conn:
        register(conn, ["ZION", "NEW-USD"], "crypto")
    keepsakes.keep(settings)
    keepsakes.keep(settings)
    assert notes(settings, "instruments") == 2
    other = in_another_database(settings, make_settings)
    with connect(other) as conn, connect(settings) as before:
        assert keepsakes.restore(other, conn) == (2, 0)
        assert known_instruments(conn, other) == known_instruments(before, settings)


def test_the_covered_past_comes_back_and_what_is_there_already_stays(
    settings: Settings, make_settings: Callable[..., Settings]
) -> None:
    cover = (
        "insert into ops.history_coverage (source, kind, symbol, asked_as, covered_from, covered_until, events, ended) "
        "values ('binance', 'bar', 'BTC-USD', 'BTCUSDT', %s, %s, 60, 'events')"
    )
    spans = "select symbol, asked_as, covered_from, covered_until, events from ops.history_coverage order by 3"
    hour = timedelta(hours=1)
    do(settings, cover, CANDLE, CANDLE + hour)
    do(settings, cover, CANDLE + 60 * 24 * hour, CANDLE + 60 * 24 * hour + hour)
    keepsakes.keep(settings)
    other = in_another_database(settings, make_settings)
    do(other, cover, CANDLE - hour, CANDLE + 2 * hour)  # more than one of them, by now
    with connect(other) as conn:
        keepsakes.restore(other, conn)
        keepsakes.restore(other, conn)
    assert [span[2:4] for span in query(other, spans)] == [
        (CANDLE - hour, CANDLE + 2 * hour),
        (CANDLE + 60 * 24 * hour, CANDLE + 60 * 24 * hour + hour),
    ]


MODELS = "select name, version, state, params, scores, reason, decided_at, approved_at from ops.models order by 1, 2"


def candidate(conn: psycopg.Connection, version: str) -> None:
    window = (CANDLE - timedelta(days=35), CANDLE - timedelta(days=7), CANDLE)
    add_model(
        conn, name="seasonal", version=version, window=window, data_sha256="d", sha256=f"s{version}",
        s3_key=f"models/seasonal/{version}/model.json", params={"trees": 3}, scores={"recall": 0.1 + 0.2},
    )  # fmt: skip


def test_models_come_back_as_they_were_decided_about_last(
    settings: Settings, make_settings: Callable[..., Settings]
) -> None:
    with connect(settings) as conn:
        candidate(conn, "one")
        decide(conn, "seasonal", "one", "approved", "nothing else is in use")
        assert keepsakes.keep(settings) == 1
        assert keepsakes.keep(settings) == 0
        for version in ("two", "three"):
            candidate(conn, version)
        decide(conn, "seasonal", "two", "approved", "better")
        decide(conn, "seasonal", "three", "rejected", "worse")
        assert keepsakes.keep(settings) == 3  # what it took the place of is another by now, too
    other = in_another_database(settings, make_settings)
    with connect(other) as conn:
        for _ in range(2):
            keepsakes.restore(other, conn)
            assert query(other, MODELS) == query(settings, MODELS)
        assert [(one.version, one.state) for one in approved_models(conn, ["seasonal"])] == [("two", "approved")]


def test_a_model_that_was_approved_since_the_loss_stays_in_use(
    settings: Settings, make_settings: Callable[..., Settings]
) -> None:
    with connect(settings) as conn:
        candidate(conn, "one")
        decide(conn, "seasonal", "one", "approved", "nothing else is in use")
    keepsakes.keep(settings)
    other = in_another_database(settings, make_settings)
    with connect(other) as conn:
        candidate(conn, "two")
        decide(conn, "seasonal", "two", "approved", "nothing else is in use")
        keepsakes.restore(other, conn)
        assert [one.version for one in approved_models(conn, ["seasonal"])] == ["two"]


def test_mutes_that_hold_come_back_and_those_that_somebody_ended_do_not(
    settings: Settings, make_settings: Callable[..., Settings]
) -> None:
    now = datetime.now(UTC)

    def mute(conn: psycopg.Connection, symbol: str | None, hours: float, severity: str | None = None) -> int:
        return add_mute(
            conn, symbol=symbol, rule=None, asset_class=None, severity=severity, from_at=now - timedelta(days=1),
            until_at=now + timedelta(hours=hours), reason="earnings", by="ann",
        )  # fmt: skip

    with connect(settings) as conn:
        mute(conn, "AAPL", 5)
        mute(conn, "MSFT", -1)
        ended = mute(conn, "TSLA", 5)
        shortened = mute(conn, None, 5, "info")
        assert keepsakes.keep(settings) == 4
        end_mute(conn, ended, now)
        end_mute(conn, shortened, now + timedelta(hours=1))
        assert keepsakes.keep(settings) == 2
        before = [{**row, "mute_id": 0} for row in read_mutes(conn, now)]
    other = in_another_database(settings, make_settings)
    with connect(other) as conn:
        for _ in range(2):
            keepsakes.restore(other, conn)
            assert [{**row, "mute_id": 0} for row in read_mutes(conn, now)] == before
    assert [(row["symbol"], row["severity"], row["until_at"]) for row in before] == [
        ("AAPL", None, now + timedelta(hours=5)), (None, "info", now + timedelta(hours=1)),
    ]  # fmt: skip


def test_decisions_are_read_in_their_order(settings: Settings) -> None:
    for number, sources in ((2, None), (1, ["coinbase"])):
        started = CANDLE + timedelta(hours=number)
        keepsakes.keep_replay(settings, keepsakes.Replayed(f"r{number}", CANDLE, started, sources, started))
    found = keepsakes.replayed(settings)
    assert [(one.replay_id, one.sources) for one in found] == [("r1", ["coinbase"]), ("r2", None)]
