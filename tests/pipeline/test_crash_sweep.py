"""kill -9 at every named point of the minute and in the slices of history: after the retry all is as if undisturbed.

Each step runs in a process of its own, as Airflow runs it; the killed one is started again. Compared are the accepted
events, the quarantine, the ledger's sums, every mart, the alerts, and what arrived in the inbox.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include import crashpoints
from include.aws import client
from include.errors import LeaseHeldError
from include.events import Window
from include.pipeline.audit import audit
from include.pipeline.cycle import catch_up
from include.pipeline.detect import detect
from include.pipeline.land import land
from include.pipeline.load import load
from include.pipeline.notify import notify
from include.pipeline.pull import pull
from include.pipeline.transform import transform
from include.settings import Settings
from include.warehouse.db import connect
from include.warehouse.leases import lease
from tests import processes
from tests.conftest import Servers, make_warehouse, warehouse_settings
from tests.transform.events import accept, at, event, quote

pytestmark = pytest.mark.stack

STEPS: dict[str, Callable[[Settings, Window], object]] = {
    "pull": lambda settings, window: pull(settings, "simulator", window),
    "land": lambda settings, window: land(settings),
    "load": lambda settings, window: load(settings),
    "audit": lambda settings, window: audit(settings),
    "transform": lambda settings, window: transform(settings),
    "detect": lambda settings, window: detect(settings),
    "notify": lambda settings, window: notify(settings),
}


@dataclass(frozen=True)
class Minute:
    """A warehouse with two hours of the past in it, as a template, and the minute that comes next: one with alerts."""

    template: str
    window: Window


@pytest.fixture(scope="module")
def minute(servers: Servers, template_marts: str) -> Minute:
    from include.stack import local_aws

    def warehouse(name: str) -> Settings:
        make_warehouse(servers, name, template=template_marts)
        settings = warehouse_settings(servers, name)
        arranged = local_aws.provision(settings)
        return settings.model_copy(update={"topic_arn": arranged.topic_arn, "inbox_url": arranged.inbox_url})

    now = datetime.now(UTC).replace(second=0, microsecond=0)
    start = now - timedelta(minutes=180)
    explored = warehouse(f"explored_{uuid.uuid4().hex[:8]}")
    cycle = catch_up(explored, minutes=180, until=now)
    assert not cycle.failures, cycle.failures
    with connect(explored) as conn:
        row = conn.execute(
            "select min(candle_start) from marts.alerts where category = 'market' and candle_start >= %s",
            [start + timedelta(minutes=60)],
        ).fetchone()
    assert row is not None and row[0] is not None, "two hours of the simulator without any alert"
    chosen = Window(row[0], row[0] + timedelta(minutes=1))
    template = f"warm_{uuid.uuid4().hex[:8]}"
    minutes = int((chosen.start - start).total_seconds()) // 60
    cycle = catch_up(warehouse(template), minutes=minutes, until=chosen.start)
    assert not cycle.failures, cycle.failures
    return Minute(template, chosen)


_MARTS = "select table_name from information_schema.tables where table_schema = 'marts' and table_type = 'BASE TABLE'"
_LEDGER = {
    "events": "select source, kind, symbol, event_time, vendor_id, payload_hash from raw.market_events",
    "quarantine": "select symbol, event_time, reason from raw.rejected_events",
    "ledger": "select sum(inserted_count), sum(quarantined_count) from ops.loads",
    "loads not transformed": "select origin from ops.loads where state <> 'transformed'",
    "ranges not loaded": "select s3_key from ops.stream_ranges where state <> 'loaded'",
    "alerts not sent": "select alert_key from ops.outbox where sent_at is null",
    "candles not looked at": "select symbol from ops.detect_queue",
    "events not judged": "select load_id, line_number from raw.landed_events",
}


def picture(settings: Settings, *, inbox: bool = True) -> dict[str, Any]:
    """Everything that must be the same, whatever happened on the way. Our own times and load numbers are left out."""
    ours = {"received_at", "loaded_at", "load_id", "created_at", "sent_at", "latency_seconds", "seq", "at"}
    with connect(settings) as conn:
        tables = conn.execute(_MARTS).fetchall()
        shown: dict[str, Any] = {}
        for (table,) in sorted(tables):
            cursor = conn.execute(f'select * from marts."{table}"')
            names = [column.name for column in cursor.description or []]
            shown[f"marts.{table}"] = sorted(
                str({name: value for name, value in zip(names, row, strict=True) if name not in ours}) for row in cursor
            )
        for name, query in _LEDGER.items():
            shown[name] = sorted(map(str, conn.execute(query)))
    if inbox:
        shown["inbox"] = delivered(settings)
    return shown


def delivered(settings: Settings) -> list[str]:
    """The keys of the alerts in the inbox; one that came twice is here twice."""
    sqs, keys = client(settings, "sqs"), []
    assert settings.inbox_url is not None
    while messages := sqs.receive_message(
        QueueUrl=settings.inbox_url, MaxNumberOfMessages=10, VisibilityTimeout=600, WaitTimeSeconds=0
    ).get("Messages"):
        keys += [json.loads(message["Body"])["alert_key"] for message in messages]
    return sorted(keys)


def run_minute(settings: Settings, window: Window, crash_at: str | None = None) -> list[str]:
    """The steps one after the other, each in its own process; returns those that were killed (and repeated)."""
    died = []
    environment = {"QUANTSTREAM_CRASH_AT": crash_at} if crash_at else {}
    for name, step in STEPS.items():
        ended = processes.run(lambda step=step: step(settings, window), environment)
        if ended.killed:
            died.append(name)
            ended = processes.run(lambda step=step: step(settings, window))
        assert ended.ok, f"{name} failed, see the captured output"
    return died


@pytest.fixture(scope="module")
def undisturbed(servers: Servers, minute: Minute) -> dict[str, Any]:
    from include.stack import local_aws

    name = f"undisturbed_{uuid.uuid4().hex[:8]}"
    make_warehouse(servers, name, template=minute.template)
    settings = warehouse_settings(servers, name)
    arranged = local_aws.provision(settings)
    settings = settings.model_copy(update={"topic_arn": arranged.topic_arn, "inbox_url": arranged.inbox_url})
    assert run_minute(settings, minute.window) == []
    shown = picture(settings)
    assert shown["inbox"], "the minute was chosen for its alerts"
    assert not any(rows for what, rows in shown.items() if " not " in what), "the minute was not finished"
    return shown


@pytest.mark.parametrize("point", crashpoints.NAMES)
def test_a_crash_at_any_point_changes_nothing(
    point: str, make_settings: Callable[..., Settings], minute: Minute, undisturbed: dict[str, Any]
) -> None:
    settings = make_settings(template=minute.template)
    assert len(run_minute(settings, minute.window, crash_at=point)) == 1, f"no step passed {point}"
    after = picture(settings)
    for what, rows in undisturbed.items():
        assert after[what] == rows, f"{what} differs after a crash at {point}"


@dataclass(frozen=True)
class Past:
    """A warehouse in which a live load and three days of history wait for the transform; and what is made of them."""

    template: str
    done: dict[str, Any]


@pytest.fixture(scope="module")
def past(servers: Servers, template_marts: str) -> Past:
    template = f"past_{uuid.uuid4().hex[:8]}"
    make_warehouse(servers, template, template=template_marts)
    with connect(warehouse_settings(servers, template)) as conn:
        for day in (2, 0, 1):
            start = at("10:00") + timedelta(days=day)
            prices = [100 + 0.01 * minute + (5 if minute == 25 else 0) for minute in range(30)]
            events = [
                event("quote", "AAPL", start + timedelta(minutes=n), {"price": price}) for n, price in enumerate(prices)
            ]
            accept(conn, events, {"simulator": start + timedelta(hours=1)}, is_live=False)
        accept(conn, [quote("AAPL", "09:00", 99)])
    name = f"past_done_{uuid.uuid4().hex[:8]}"
    make_warehouse(servers, name, template=template)
    settings = warehouse_settings(servers, name)
    assert bring_in(settings) == []
    shown = picture(settings, inbox=False)
    assert len(shown["marts.alerts"]) >= 3 and not shown["alerts not sent"], "old ones are written down, and not sent"
    assert not any(rows for what, rows in shown.items() if " not " in what), "the past was not finished"
    return Past(template, shown)


def bring_in(settings: Settings, crash_at: str | None = None) -> list[str]:
    """Transform, a day in a slice, and detect, until nothing is left, each in its own process; those that were killed.

    Like run_minute: the killed one is started again.
    """
    slices = settings.model_copy(update={"transform_history_events": 30})

    def transform_all() -> None:
        while transform(slices).is_more_left:
            pass

    died = []
    environment = {"QUANTSTREAM_CRASH_AT": crash_at} if crash_at else {}
    for name, work in (("transform", transform_all), ("detect", lambda: detect(settings))):
        ended = processes.run(work, environment)
        if ended.killed:
            died.append(name)
            ended = processes.run(work)
        assert ended.ok, f"{name} failed, see the captured output"
    return died


# The first passage is that of the live batch, or of what came live; the second and third are slices.
@pytest.mark.parametrize(
    "point",
    [
        "before_dbt:2",
        "after_dbt:2",
        "before_transform_commit:3",
        "after_transform_commit:2",
        "before_alert_commit:2",
        "after_alert_commit:2",
    ],
)
def test_a_crash_in_any_slice_of_history_changes_nothing(
    point: str, make_settings: Callable[..., Settings], past: Past
) -> None:
    settings = make_settings(template=past.template)
    assert len(bring_in(settings, crash_at=point)) == 1, f"no step passed {point}"
    after = picture(settings)
    assert after.pop("inbox") == []
    for what, rows in past.done.items():
        assert after[what] == rows, f"{what} differs after a crash at {point}"


@pytest.mark.parametrize("name", STEPS)
def test_the_same_step_twice_at_once_is_refused(
    name: str, make_settings: Callable[..., Settings], minute: Minute
) -> None:
    settings = make_settings(template=minute.template)
    with connect(settings) as other:
        held = {"pull": "pull simulator"}.get(name, name)
        with lease(other, held, seconds=60), pytest.raises(LeaseHeldError, match=f"the step {held} runs already"):
            STEPS[name](settings, minute.window)
