"""An hour without SNS, topics by severity, messages that SNS will not take: real SNS and SQS, and a clock at hand."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from tenacity import wait_none
from typer.testing import CliRunner

from include import settings as settings_module
from include.aws import client
from include.cli import app
from include.errors import NotifyError
from include.notify import outbox as publishing
from include.notify.inbox import latest
from include.pipeline import notify as step
from include.pipeline.notify import NotifyReport, notify
from include.pipeline.redeliver import redeliver
from include.settings import Settings
from include.stack.delivery import provision_delivery
from include.warehouse.db import connect
from tests.faults.proxy import Answer, LoseAnswer, Reset, aws_faults
from tests.notify.faults import THROTTLED, RefuseEntries, delivered, messages, put_alerts
from tests.pipeline.candles import make_room

pytestmark = pytest.mark.stack

AT = datetime(2026, 1, 2, 9, 0, tzinfo=UTC)
REFUSE = RefuseEntries(("AAPL",), code="InvalidParameter", sender_fault=True, saying="bad")


@pytest.fixture(autouse=True)
def _no_waiting_between_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "WAIT", wait_none())


def at(minute: int) -> datetime:
    return AT + timedelta(minutes=minute)


def test_after_an_hour_without_sns_all_arrive_once_oldest_first_and_the_stale_ones_say_so(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # botocore's own pauses
    expected = []
    with aws_faults(settings) as (proxy, behind):
        for minute in range(0, 61, 10):
            for symbol in ("AAPL", "MSFT", "BTC-USD"):
                expected.append(f"{symbol} of {minute:02}")
                put_alerts(settings, (symbol, expected[-1]), at=at(minute))
            # down: connections are cut, at last so that SNS has taken what nobody hears of
            proxy.clear()
            proxy.add(LoseAnswer() if minute == 60 else Reset(), operation="PublishBatch", times=None)
            with pytest.raises(NotifyError, match="0 alerts sent"):
                notify(behind, clock=lambda minute=minute: at(minute + 1))
        proxy.clear()
        assert notify(behind, clock=lambda: at(62)) == NotifyReport(sent=21)
    assert notify(settings, clock=lambda: at(63)).sent == 0
    bodies = delivered(settings)
    assert len(bodies) == 21, "those of the last call, of which nobody heard, came once as well"
    for symbol in ("AAPL", "MSFT", "BTC-USD"):
        ours = [body for body in bodies if body["symbol"] == symbol]
        assert messages(ours) == [name for name in expected if name.startswith(symbol)]
        assert [body["late"] for body in ours] == [True] * 6 + [False]
        assert [body["subject"].split(":")[0] for body in ours[-2:]] == ["LATE 11 min", "WARNING"]
        assert [body["text"].split(":")[0] for body in ours[-2:]] == ["LATE 11 min", symbol]
        assert [body["attributes"].get("late") for body in ours[-2:]] == ["true", None]
    with connect(settings) as conn:
        told = conn.execute("select message, latency_seconds from marts.alerts where state = 'sent'").fetchall()
    assert dict(told) == {name: (61 - int(name[-2:])) * 60.0 for name in expected}


def test_a_message_that_sns_will_not_take_becomes_a_dead_letter_and_comes_back_by_one_command(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_alerts(settings, ("AAPL", "bad"), ("AAPL", "good"))
    with aws_faults(settings) as (proxy, behind):
        proxy.add(THROTTLED, operation="PublishBatch", times=12 * publishing.ATTEMPTS)
        for _ in range(12):  # that SNS took nothing does not count against it
            with pytest.raises(NotifyError, match="Throttled"):
                notify(behind)
        proxy.add(REFUSE, operation="PublishBatch", times=None)
        for _ in range(step.PATIENCE - 1):
            with pytest.raises(NotifyError, match=r"0 alerts sent, 2 wait;"):
                notify(behind)
        with pytest.raises(NotifyError, match=r"1 alerts sent, 0 wait, 1 dead \(`quantstream alerts redeliver --dead`"):
            notify(behind)
        assert notify(behind) == NotifyReport(dead=1)  # it holds up nothing, and fails no run
    assert messages(delivered(settings)) == ["good"]
    (letter,) = delivered(settings, settings.dead_letters)
    assert (letter["message"], letter["attributes"]["dead_reason"]) == ("bad", "InvalidParameter: not this one")
    monkeypatch.setattr(settings_module, "load_settings", lambda: settings)
    said = CliRunner().invoke(app, ["alerts", "redeliver", "--dead", "--dry-run"]).output
    assert "AAPL: bad" in said and "InvalidParameter: not this one" in said and "Nothing was changed" in said
    said = CliRunner().invoke(app, ["alerts", "redeliver", "--dead"]).output
    assert "1 alerts wait again; the next run of market_detect sends them." in said
    assert notify(settings) == NotifyReport(sent=1)
    assert messages(delivered(settings)) == ["bad"]
    with connect(settings) as conn:
        events = conn.execute(
            "select event from marts.alert_history join marts.alerts using (alert_key) "
            "where message = 'bad' order by seq"
        ).fetchall()
    assert [event for (event,) in events] == ["opened", "dead", "redelivered", "sent"]


@pytest.mark.parametrize("point", ["before_dead_letter", "after_dead_letter"])
def test_a_crash_beside_the_dead_letters_leaves_one_of_each(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    monkeypatch.setattr(step, "PATIENCE", 1)
    put_alerts(settings, ("AAPL", "bad"))

    def crash(name: str) -> None:
        if name == point:
            raise KeyboardInterrupt(name)

    with aws_faults(settings) as (proxy, behind):
        proxy.add(REFUSE, operation="PublishBatch", times=None)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt, match=point):
            patch.setattr(step, "crash_point", crash)
            notify(behind)
        with pytest.raises(NotifyError, match="1 dead"):
            notify(behind)
    assert messages(delivered(settings, settings.dead_letters)) == ["bad"]


def test_a_queue_of_dead_letters_that_takes_nothing_holds_up_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(step, "PATIENCE", 1)
    put_alerts(settings, ("AAPL", "bad"), ("AAPL", "good"))
    with aws_faults(settings) as (proxy, behind):
        proxy.add(REFUSE, operation="PublishBatch", times=None)
        proxy.add(Answer(403, b'{"__type": "AccessDenied", "message": "no"}'), operation="SendMessage", times=None)
        with pytest.raises(NotifyError, match="1 alerts sent, 0 wait, 1 dead"):
            notify(behind)
    assert f"is not in the queue {settings.dead_letters}" in caplog.text


@pytest.mark.parametrize("code", ["KMSDisabled", "AuthorizationError"])
def test_what_is_not_the_messages_fault_never_kills_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(step, "PATIENCE", 1)
    put_alerts(settings, ("AAPL", "one"))
    with aws_faults(settings) as (proxy, behind):
        proxy.add(RefuseEntries(("AAPL",), code=code, sender_fault=True), operation="PublishBatch", times=None)
        with pytest.raises(NotifyError, match="0 alerts sent, 1 wait; SNS said"):
            notify(behind)
    assert notify(settings) == NotifyReport(sent=1)


def test_an_entry_that_spoils_the_whole_call_dies_alone(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "PATIENCE", 1)
    put_alerts(settings, ("AAPL", "one"), ("MSFT", "two"), ("TSLA", "three"))
    with connect(settings) as conn:
        conn.execute("""update ops.outbox set attributes = attributes || '{"rule": 5}' where subject like '%two'""")
    with pytest.raises(NotifyError, match=r"2 alerts sent, 0 wait, 1 dead"):
        notify(settings)
    assert messages(delivered(settings)) == ["one", "three"]


def test_a_sent_alert_is_delivered_again_as_a_new_message_of_the_same_alert(settings: Settings) -> None:
    put_alerts(settings, ("AAPL", "one"), ("AAPL", "two"))
    notify(settings)
    first = latest(settings)
    redeliver(settings, key=first[0]["alert_key"][:8])
    notify(settings)
    assert [(one["message"], one["message_key"].partition(":again:")[2]) for one in latest(settings)] == [
        ("one", ""), ("two", ""), ("one", "1"),
    ]  # fmt: skip
    assert latest(settings)[-1]["alert_key"] == first[0]["alert_key"]


def test_each_severity_has_its_topic_and_a_topic_that_is_gone_holds_up_no_other(settings: Settings) -> None:
    name = settings.bucket
    ours = settings.model_copy(update={"topic_critical": f"{name}-critical.fifo", "topic_info": f"{name}-info"})
    provision_delivery(ours)
    assert provision_delivery(ours).created == ()
    for severity in ("critical", "warning", "info"):
        put_alerts(ours, ("AAPL", f"{severity} 1"), ("AAPL", f"{severity} 2"), severity=severity)
    assert notify(ours) == NotifyReport(sent=6)
    # the inbox hears the FIFO topics; a FIFO queue cannot be subscribed to the standard one
    assert sorted(messages(delivered(ours))) == ["critical 1", "critical 2", "warning 1", "warning 2"]
    with connect(ours) as conn:
        topics = conn.execute("select distinct attributes ->> 'severity', topic from ops.outbox order by 1").fetchall()
    assert [(severity, arn.rpartition(":")[2]) for severity, arn in topics] == [
        ("critical", ours.topic_critical), ("info", ours.topic_info), ("warning", ours.topic),
    ]  # fmt: skip

    assert ours.topic_arn is not None
    client(ours, "sns").delete_topic(TopicArn=f"{ours.topic_arn.rpartition(':')[0]}:{ours.topic_critical}")
    put_alerts(ours, ("AAPL", "critical 3"), ("AAPL", "critical 4"), severity="critical")
    put_alerts(ours, ("AAPL", "warning 3"))
    with pytest.raises(NotifyError, match=r"1 alerts sent, 2 wait; SNS said: .*NotFound"):
        notify(ours)
    assert messages(delivered(ours)) == ["warning 3"]


def test_an_alert_shows_the_last_hours_of_its_instrument_and_goes_without_where_there_are_none(
    marts_settings: Settings,
) -> None:
    end = at(0)
    with connect(marts_settings) as conn:
        minutes = [*range(0, 100), *range(160, 240)]  # one hour is missing
        make_room(conn, "indicators_1m", [end])
        conn.cursor().executemany(
            "insert into marts.indicators_1m (symbol, candle_start, source, close) "
            "values ('AAPL', %s, 'simulator', %s)",
            [(end - timedelta(minutes=239 - n), 100 + n + (500 if n == 239 else 0)) for n in minutes],
        )
    put_alerts(marts_settings, ("AAPL", "one"), ("MSFT", "two"), at=end)
    notify(marts_settings)
    one, two = delivered(marts_settings)
    assert one["sparkline"] == "▁▁▁▁▁▁▁▂▂▂▂▂▂▂       ▃▃▃▃▃▃▃▃▃▃█"
    assert one["text"].splitlines()[-2:] == [one["sparkline"], f"seen? quantstream alerts ack {one['alert_key'][:8]}"]
    assert two["sparkline"] is None
    put_alerts(marts_settings, ("AAPL", "three"), at=end)
    notify(marts_settings.model_copy(update={"chart_url": "https://charts.example.com/{symbol}"}))
    (three,) = delivered(marts_settings)
    assert (three["sparkline"], three["chart_url"]) == (None, "https://charts.example.com/AAPL")
