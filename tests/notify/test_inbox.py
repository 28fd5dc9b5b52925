"""The inbox: what arrived stays readable for every reader, each alert once."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from include.aws import client
from include.errors import NotRunningError
from include.notify.inbox import archive, latest, receive
from include.pipeline.notify import notify
from include.settings import Settings
from tests.notify.faults import delivered, messages, put_alerts

pytestmark = pytest.mark.stack


def send(settings: Settings, body: str, number: int) -> None:
    """A message straight into the queue."""
    assert settings.inbox_url
    client(settings, "sqs").send_message(
        QueueUrl=settings.inbox_url, MessageBody=body, MessageGroupId="g", MessageDeduplicationId=str(number)
    )


def test_alerts_are_shown_again_after_they_were_read(settings: Settings) -> None:
    put_alerts(settings, ("AAPL", "one"), ("MSFT", "two"), (None, "three"))
    notify(settings)
    assert messages(latest(settings)) == ["one", "two", "three"]
    assert messages(latest(settings)) == ["one", "two", "three"]
    assert messages(latest(settings, 2)) == ["two", "three"]
    assert latest(settings, 0) == []
    assert delivered(settings) == []  # they left the queue


def test_following_shows_what_arrives_and_not_what_was_there(settings: Settings) -> None:
    put_alerts(settings, ("AAPL", "old"))
    notify(settings)
    latest(settings)
    put_alerts(settings, ("AAPL", "new"))
    notify(settings)
    (alert,) = receive(settings, 0)
    assert (alert["message"], alert["symbol"], alert["rule"]) == ("new", "AAPL", "change")
    assert alert["arrived_at"].endswith("Z")
    assert list(receive(settings, 0)) == []


def test_two_who_follow_both_see_everything(settings: Settings) -> None:
    seen: dict[str, list[str]] = {"one": [], "two": []}

    def follow(name: str) -> None:
        for alert in receive(settings, 30):
            seen[name].append(alert["message"])
            if len(seen[name]) == 12:
                return

    readers = [threading.Thread(target=follow, args=[name]) for name in seen]
    for reader in readers:
        reader.start()
    put_alerts(settings, *((f"S{n}", f"alert {n}") for n in range(12)))
    notify(settings)
    for reader in readers:
        reader.join(30)
    expected = sorted(f"alert {n}" for n in range(12))
    assert [sorted(one) for one in seen.values()] == [expected, expected]


def test_an_alert_delivered_twice_is_kept_once(settings: Settings) -> None:
    for number in range(3):
        send(settings, json.dumps({"alert_key": "k", "message": "again"}), number)
    assert messages(latest(settings)) == ["again"]


def test_a_crash_between_keeping_and_deleting_shows_it_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(settings, json.dumps({"alert_key": "k", "message": "once"}), 1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            latest(settings)
    assert archive(settings).exists()
    sqs = client(settings, "sqs")
    assert settings.inbox_url
    sqs.set_queue_attributes(QueueUrl=settings.inbox_url, Attributes={"VisibilityTimeout": "0"})
    send(settings, json.dumps({"alert_key": "k", "message": "once"}), 2)  # as the queue gives it again
    assert messages(latest(settings)) == ["once"]


def test_a_line_cut_by_a_crash_harms_no_other(settings: Settings, tmp_path: Path) -> None:
    archive(settings).write_bytes(b'{"alert_key": "a", "message": "whole"}\n{"alert_key": "b", "mess')
    send(settings, json.dumps({"alert_key": "b", "message": "came again"}), 1)
    assert messages(latest(settings)) == ["whole", "came again"]


def test_what_somebody_else_sent_is_kept_as_text_and_a_wrapped_alert_is_unwrapped(settings: Settings) -> None:
    send(settings, "hello?", 1)
    send(settings, "[1]", 2)
    send(settings, json.dumps({"TopicArn": "arn", "Message": json.dumps({"alert_key": "k", "text": "wrapped"})}), 3)
    assert [alert["text"] for alert in latest(settings)] == ["hello?", "[1]", "wrapped"]


def test_without_an_inbox_the_remedy_is_named(settings: Settings) -> None:
    with pytest.raises(NotRunningError, match="`make up` makes the local one"):
        latest(settings.model_copy(update={"inbox_url": None}))
