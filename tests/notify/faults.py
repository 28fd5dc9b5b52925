"""What SNS does on a bad day, for the fault proxy; and the queue behind the topic as it really is."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

from include.alerts import Alert, Severity
from include.aws import client
from include.settings import Settings
from include.stack.local_aws import provision
from include.warehouse.alerts import insert_alerts
from include.warehouse.db import connect
from tests.faults.proxy import Answer, Fault, Forward, Request, Response

THROTTLED = Answer(
    429,
    b"<ErrorResponse><Error><Type>Sender</Type><Code>Throttled</Code><Message>Rate exceeded</Message></Error>"
    b"</ErrorResponse>",
    {"Content-Type": "text/xml"},
)
_ENTRY = "PublishBatchRequestEntries.member."


@dataclass(frozen=True)
class RefuseEntries(Fault):
    """SNS takes part of a PublishBatch: entries of these groups are not published and reported as failed.

    With `saying` only those whose message holds this text.
    """

    groups: tuple[str, ...]
    code: str = "InternalError"
    sender_fault: bool = False
    saying: str = ""

    def _refuses(self, entry: dict[str, str]) -> bool:
        return entry["MessageGroupId"] in self.groups and self.saying in entry["Message"]

    def act(self, request: Request, forward: Forward, closing: threading.Event) -> Response:
        plain: dict[str, str] = {}
        entries: dict[str, dict[str, str]] = {}
        for name, value in parse_qsl(request.body.decode(), keep_blank_values=True):
            if name.startswith(_ENTRY):
                number, _, field = name.removeprefix(_ENTRY).partition(".")
                entries.setdefault(number, {})[field] = value
            else:
                plain[name] = value
        kept = [entry for entry in entries.values() if not self._refuses(entry)]
        refused = "".join(
            f"<member><Id>{entry['Id']}</Id><Code>{self.code}</Code><Message>not this one</Message>"
            f"<SenderFault>{str(self.sender_fault).lower()}</SenderFault></member>"
            for entry in entries.values()
            if self._refuses(entry)
        )
        answer = (
            b"<PublishBatchResponse><PublishBatchResult><Failed></Failed></PublishBatchResult></PublishBatchResponse>"
        )
        headers: tuple[tuple[str, str], ...] = (("Content-Type", "text/xml"),)
        if kept:
            numbered = {f"{_ENTRY}{n}.{name}": v for n, entry in enumerate(kept, 1) for name, v in entry.items()}
            response = forward(replace(request, body=urlencode(plain | numbered).encode()))
            answer, headers = response.body, response.headers
        body = answer.replace(b"<Failed></Failed>", f"<Failed>{refused}</Failed>".encode())
        assert refused.encode() in body
        return Response(200, body, headers)


def put_alerts(
    settings: Settings,
    *wanted: tuple[str | None, str],
    at: datetime = datetime(2026, 1, 2, tzinfo=UTC),
    severity: Severity = "warning",
) -> None:
    """Alerts of these symbols (None: operations) with these messages into the outbox, in this order."""
    alerts = [
        Alert("change", "market" if symbol else "operations", severity, text, symbol, at, discriminator=text)
        for symbol, text in wanted
    ]
    with connect(settings) as conn, conn.transaction():
        insert_alerts(conn, alerts)


def with_standard_topics(settings: Settings) -> Settings:
    """The same with topic, inbox and dead letters that are not FIFO."""
    plain = {name: getattr(settings, name).removesuffix(".fifo") for name in ("topic", "inbox", "dead_letters")}
    settings = settings.model_copy(update=plain)
    made = provision(settings)
    return settings.model_copy(update={"topic_arn": made.topic_arn, "inbox_url": made.inbox_url})


def outbox(settings: Settings) -> dict[str, tuple[bool, int, str | None]]:
    """Message to (is it sent, attempts, last error)."""
    with connect(settings) as conn:
        rows = conn.execute(
            "select a.message, o.sent_at is not null, o.attempts, o.last_error "
            "from ops.outbox as o join marts.alerts as a using (alert_key) "
            "where (a.state = 'sent') = (o.sent_at is not null) and a.sent_at is not distinct from o.sent_at "
            "order by o.outbox_id"
        ).fetchall()
    return {message: (sent, attempts, error) for message, sent, attempts, error in rows}


def delivered(settings: Settings, queue: str | None = None) -> list[dict[str, Any]]:
    """Everything in the inbox (or queue of that name), duplicates included, as it arrived; it is empty afterwards.

    The attributes of a message are in `attributes`.
    """
    sqs = client(settings, "sqs")
    url = settings.inbox_url if queue is None else sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    assert url
    bodies: list[dict[str, Any]] = []
    while found := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]).get(
        "Messages"
    ):
        for one in found:
            attributes = {name: value["StringValue"] for name, value in one.get("MessageAttributes", {}).items()}
            bodies.append(json.loads(one["Body"]) | {"attributes": attributes})
            sqs.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])
    return bodies


def messages(bodies: Sequence[dict[str, Any]]) -> list[str]:
    return [body["message"] for body in bodies]
