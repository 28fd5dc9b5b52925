"""What SNS does on a bad day, for the fault proxy; and the queue behind the topic as it really is."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

from include.alerts import Alert
from include.aws import client
from include.settings import Settings
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
    """SNS takes part of a PublishBatch: entries of these groups are not published and reported as failed."""

    groups: tuple[str, ...]
    code: str = "InternalError"
    sender_fault: bool = False

    def act(self, request: Request, forward: Forward, closing: threading.Event) -> Response:
        plain: dict[str, str] = {}
        entries: dict[str, dict[str, str]] = {}
        for name, value in parse_qsl(request.body.decode(), keep_blank_values=True):
            if name.startswith(_ENTRY):
                number, _, field = name.removeprefix(_ENTRY).partition(".")
                entries.setdefault(number, {})[field] = value
            else:
                plain[name] = value
        kept = [entry for entry in entries.values() if entry["MessageGroupId"] not in self.groups]
        refused = "".join(
            f"<member><Id>{entry['Id']}</Id><Code>{self.code}</Code><Message>not this one</Message>"
            f"<SenderFault>{str(self.sender_fault).lower()}</SenderFault></member>"
            for entry in entries.values()
            if entry["MessageGroupId"] in self.groups
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


def put_alerts(settings: Settings, *wanted: tuple[str | None, str]) -> None:
    """Alerts of these symbols (None: operations) with these messages into the outbox, in this order."""
    at = datetime(2026, 1, 2, tzinfo=UTC)
    alerts = [
        Alert("change", "market" if symbol else "operations", "warning", text, symbol, at, discriminator=text)
        for symbol, text in wanted
    ]
    with connect(settings) as conn, conn.transaction():
        insert_alerts(conn, alerts)


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


def delivered(settings: Settings) -> list[dict[str, Any]]:
    """Everything in the queue, duplicates included, as it arrived; the queue is empty afterwards."""
    assert settings.inbox_url
    sqs = client(settings, "sqs")
    bodies: list[dict[str, Any]] = []
    while found := sqs.receive_message(QueueUrl=settings.inbox_url, MaxNumberOfMessages=10).get("Messages"):
        bodies += [json.loads(one["Body"]) for one in found]
        for one in found:
            sqs.delete_message(QueueUrl=settings.inbox_url, ReceiptHandle=one["ReceiptHandle"])
    return bodies


def messages(bodies: Sequence[dict[str, Any]]) -> list[str]:
    return [body["message"] for body in bodies]
