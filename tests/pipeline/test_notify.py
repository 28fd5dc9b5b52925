"""Notify: the outbox to the inbox through a real SNS FIFO topic, on good days and on bad ones."""

from __future__ import annotations

from collections import Counter

import pytest
from tenacity import wait_none

from include.alerts import Alert
from include.errors import LeaseHeldError, NotifyError
from include.notify import outbox as publishing
from include.pipeline import notify as step
from include.pipeline.notify import NotifyReport, notify
from include.settings import Settings
from include.warehouse.alerts import insert_alerts
from include.warehouse.db import connect
from include.warehouse.leases import lease
from tests import processes
from tests.conftest import free_port
from tests.faults.proxy import LoseAnswer, Reset, aws_faults
from tests.notify.faults import (
    THROTTLED,
    RefuseEntries,
    delivered,
    messages,
    outbox,
    put_alerts,
    with_standard_topics,
)

pytestmark = pytest.mark.stack
SENT = (True, 1, None)


@pytest.fixture(autouse=True)
def _no_waiting_between_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "WAIT", wait_none())


def test_alerts_arrive_once_and_in_order_with_all_a_machine_needs(settings: Settings) -> None:
    put_alerts(settings, ("AAPL", "first"), ("AAPL", "second"), ("MSFT", "third"), (None, "fourth"))
    assert notify(settings) == NotifyReport(sent=4, waiting=0)
    bodies = delivered(settings)
    assert sorted(messages(bodies)) == ["first", "fourth", "second", "third"]
    assert [body["message"] for body in bodies if body["symbol"] == "AAPL"] == ["first", "second"]
    assert {"alert_key", "rule", "symbol", "value", "threshold", "candle_start", "text"} < bodies[0].keys()
    assert set(outbox(settings).values()) == {SENT}
    assert str(notify(settings)) == "0 alerts sent, 0 wait"
    assert delivered(settings) == []


def test_a_standard_topic_works_without_groups_and_keys(settings: Settings) -> None:
    plain = with_standard_topics(settings)
    put_alerts(plain, *(("AAPL", f"alert {n:02}") for n in range(12)))
    assert notify(plain).sent == 12
    bodies = delivered(plain)
    assert sorted(messages(bodies)) == [f"alert {n:02}" for n in range(12)]
    assert bodies[0]["rule"] == "change"


def test_while_sns_is_down_nothing_is_lost_and_then_it_goes_on_in_order(settings: Settings) -> None:
    put_alerts(settings, ("AAPL", "first"), ("AAPL", "second"))
    down = settings.model_copy(update={"aws_endpoint_url": f"http://127.0.0.1:{free_port()}"})
    with pytest.raises(NotifyError, match=r"0 alerts sent, 2 wait; SNS said: Could not connect"):
        notify(down)
    put_alerts(settings, ("AAPL", "third"))
    sent, attempts, error = outbox(settings)["first"]
    assert (sent, attempts) == (False, 1)
    assert "Could not connect" in str(error)
    assert outbox(settings)["third"] == (False, 0, None)
    assert notify(settings).sent == 3
    assert messages(delivered(settings)) == ["first", "second", "third"]
    assert outbox(settings) == {"first": (True, 2, None), "second": SENT, "third": SENT}


def test_a_short_cut_of_the_connection_is_not_noticed(settings: Settings) -> None:
    put_alerts(settings, ("AAPL", "first"))
    with aws_faults(settings) as (proxy, behind):
        proxy.add(Reset(), operation="PublishBatch", times=1)
        assert notify(behind).sent == 1
    assert messages(delivered(settings)) == ["first"]


def test_a_lost_acknowledgement_brings_no_duplicate(settings: Settings) -> None:
    put_alerts(settings, ("AAPL", "first"), ("MSFT", "second"))
    with aws_faults(settings) as (proxy, behind):
        proxy.add(LoseAnswer(), operation="PublishBatch", times=None)
        with pytest.raises(NotifyError):
            notify(behind)
        assert not any(sent for sent, _, _ in outbox(settings).values())
        proxy.clear()
        assert notify(behind).sent == 2
    assert sorted(messages(delivered(settings))) == ["first", "second"]


@pytest.mark.parametrize("point", ["before_publish", "after_publish", "after_mark_sent"])
@pytest.mark.parametrize("kind", ["fifo", "standard"])
def test_kill_9_loses_nothing_and_doubles_at_most_one_batch_of_a_standard_topic(
    settings: Settings, point: str, kind: str
) -> None:
    settings = settings if kind == "fifo" else with_standard_topics(settings)
    names = [f"{n:02}" for n in range(12)]  # two batches on either kind: two of each of six symbols
    put_alerts(settings, *((f"S{n % 6}", name) for n, name in enumerate(names)))
    killed = processes.run(lambda: notify(settings), {"QUANTSTREAM_CRASH_AT": f"{point}:2"})
    assert killed.killed
    assert processes.run(lambda: notify(settings)).ok
    times = Counter(messages(delivered(settings)))
    assert sorted(times) == names
    assert all(sent for sent, _, _ in outbox(settings).values())
    doubled = [name for name, count in times.items() if count == 2]
    assert doubled == (names[10:] if (kind, point) == ("standard", "after_publish") else [])
    assert max(times.values()) <= 2


def test_an_entry_refused_for_now_is_tried_again_at_once(settings: Settings) -> None:
    put_alerts(settings, ("AAPL", "first"), ("MSFT", "second"))
    with aws_faults(settings) as (proxy, behind):
        proxy.add(RefuseEntries(("AAPL",)), operation="PublishBatch", times=2)
        assert notify(behind).sent == 2
        published = [seen.fault for seen in proxy.seen if seen.operation == "PublishBatch"]
        assert published == ["RefuseEntries", "RefuseEntries", None]
    assert messages(delivered(settings)) == ["second", "first"]


def test_a_refused_entry_is_not_overtaken_by_later_ones_of_its_symbol(settings: Settings) -> None:
    put_alerts(settings, ("AAPL", "a1"), ("MSFT", "m1"), ("AAPL", "a2"), ("MSFT", "m2"))
    with aws_faults(settings) as (proxy, behind):
        proxy.add(RefuseEntries(("AAPL",)), operation="PublishBatch", times=None)
        with pytest.raises(NotifyError, match=r"2 alerts sent, 2 wait; SNS said: .*AAPL: a1.*InternalError"):
            notify(behind)
    assert messages(delivered(settings)) == ["m1", "m2"]
    assert outbox(settings) == {
        "a1": (False, 1, "InternalError: not this one"), "m1": SENT, "a2": (False, 0, None), "m2": SENT,
    }  # fmt: skip
    assert notify(settings).sent == 2
    assert messages(delivered(settings)) == ["a1", "a2"]


def test_throttling_is_waited_out(settings: Settings) -> None:
    put_alerts(settings, ("AAPL", "first"))
    with aws_faults(settings) as (proxy, behind):
        proxy.add(THROTTLED, operation="PublishBatch", times=3)
        assert notify(behind).sent == 1
        proxy.add(THROTTLED, operation="PublishBatch", times=None)
        put_alerts(settings, ("AAPL", "second"))
        with pytest.raises(NotifyError, match="Throttled"):
            notify(behind)
    assert notify(settings).sent == 1
    assert messages(delivered(settings)) == ["first", "second"]


def test_a_message_over_the_limit_arrives_cut(settings: Settings) -> None:
    with connect(settings) as conn, conn.transaction():
        insert_alerts(conn, [Alert("load_rejected", "operations", "critical", "é" * 300_000)])
    notify(settings)
    (body,) = delivered(settings)
    assert body["text"].endswith("[cut: the whole text is in marts.alerts]")


def test_the_outbox_is_read_page_by_page(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "PAGE", 2)
    put_alerts(settings, *((f"S{n % 3}", f"{n}") for n in range(7)))
    assert notify(settings).sent == 7
    assert sorted(messages(delivered(settings))) == [str(n) for n in range(7)]


def test_the_same_step_twice_at_once_is_refused(settings: Settings) -> None:
    put_alerts(settings, ("AAPL", "first"))
    with connect(settings) as conn:
        with lease(conn, "notify", seconds=60), pytest.raises(LeaseHeldError, match="the step notify runs already"):
            notify(settings)
        assert notify(settings).sent == 1
        rows = conn.execute("select ok, row_count from ops.outcomes where step = 'notify' order by outcome_id")
        assert rows.fetchall() == [(False, None), (True, 1)]
