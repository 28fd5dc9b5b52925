"""The inbox: the SQS queue subscribed to the topic, and the archive of what arrived in it.

A queue forgets what was read, and two readers would each get a part. So reading moves messages from the queue to
`<home>/inbox.jsonl`: appended and synced to disk first, deleted from the queue afterwards, each message once by its
key however often it was delivered. The archive is what readers look at; any number may follow it at once.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from include.aws import client
from include.errors import NotRunningError
from include.events import iso
from include.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef

log = logging.getLogger(__name__)

Alert = dict[str, Any]

POLL_SECONDS: Final = 2.0  # the longest a reader waits at the queue before it looks at the archive again


def archive(settings: Settings) -> Path:
    """Where the alerts that arrived are kept, one JSON object a line: the alert's body and `arrived_at` (UTC)."""
    return settings.home / "inbox.jsonl"


def latest(settings: Settings, count: int = 20) -> list[Alert]:
    """The last `count` alerts that arrived, oldest first, after taking in what waits in the queue.

    Raises NotRunningError if there is no inbox.
    """
    inbox = _Inbox(settings)
    while inbox.collect():
        pass
    alerts = [alert for _, alert in _read(inbox.path, 0)]
    return alerts[-count:] if count > 0 else []


def receive(settings: Settings, wait_seconds: float) -> Iterator[Alert]:
    """Alerts as they arrive, from now on, for `wait_seconds` (`math.inf`: until the caller stops).

    What waits in the queue arrives now. Raises NotRunningError if there is no inbox.
    """
    inbox = _Inbox(settings)
    place = inbox.path.stat().st_size if inbox.path.exists() else 0
    end = time.monotonic() + wait_seconds
    while True:
        left = end - time.monotonic()
        took = inbox.collect(wait_seconds=min(POLL_SECONDS, left))
        for after, alert in _read(inbox.path, place):
            place = after
            yield alert
        if left <= 0 and not took:
            return


class _Inbox:
    """A reader of the queue, which remembers the keys in the archive."""

    def __init__(self, settings: Settings) -> None:
        if not settings.inbox_url:
            raise NotRunningError(
                f"no address of the inbox {settings.inbox}: `make up` makes the local one; "
                "for another one set QUANTSTREAM_INBOX_URL"
            )
        self.path = archive(settings)
        self._url = settings.inbox_url
        self._sqs = client(settings, "sqs")
        self._keys: set[str] = set()
        self._place = 0

    def collect(self, *, wait_seconds: float = 0) -> int:
        """Move up to ten messages to the archive; how many there were. A crash leaves them in the queue."""
        messages = self._sqs.receive_message(
            QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=max(0, round(wait_seconds))
        ).get("Messages", [])
        if messages:
            self._append(messages)
            self._sqs.delete_message_batch(
                QueueUrl=self._url,
                Entries=[{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(messages)],
            )
        return len(messages)

    def _append(self, messages: Sequence[MessageTypeDef]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            for after, alert in _read(self.path, self._place):
                self._place = after
                self._keys.add(_identity(alert))
            lines = [b""] if _ends_within_a_line(self.path) else []  # a crash cut it: what comes starts a new one
            for alert in map(_alert, messages):
                if _identity(alert) not in self._keys:
                    self._keys.add(_identity(alert))
                    lines.append(orjson.dumps(alert))
            if lines:
                file.write(b"\n".join([*lines, b""]))
                file.flush()
                os.fsync(file.fileno())


def _alert(message: MessageTypeDef) -> Alert:
    """The alert in a message; what somebody else sent to the queue is kept as text."""
    try:
        found = orjson.loads(message["Body"])
        if "alert_key" not in found and "TopicArn" in found:  # a subscription without raw delivery wraps it
            found = orjson.loads(found["Message"])
        key = found["alert_key"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        found, key = {"text": message["Body"]}, f"message {message['MessageId']}"
    return {"arrived_at": iso(datetime.now(UTC)), **found, "alert_key": str(key)}


def _identity(alert: Alert) -> str:
    """What tells a repetition: the message's key; messages of before, and of others, have the alert's alone."""
    return str(alert.get("message_key") or alert["alert_key"])


def _read(path: Path, place: int) -> Iterator[tuple[int, Alert]]:
    """The alerts of the whole lines from byte `place` on, each with the place after it; a damaged line is left out."""
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(place if place <= path.stat().st_size else 0)  # shorter than before: it was started anew
        while (line := file.readline()).endswith(b"\n"):
            try:
                alert = orjson.loads(line)
            except orjson.JSONDecodeError:
                if line.strip():
                    log.warning("%s holds a damaged line; it is left out: %.60r", path, line)
                continue
            yield file.tell(), alert


def _ends_within_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
