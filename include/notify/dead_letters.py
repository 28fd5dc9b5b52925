"""The dead-letter queue: a copy of every message that SNS will not take, for whoever watches the queue.

The outbox knows them as well (`dead_at`), and a person puts them back from there.
"""

from __future__ import annotations

from include.aws import client
from include.notify.outbox import LIMIT, Outgoing, deduplication_of, group_of, shortened
from include.notify.topics import is_fifo
from include.settings import Settings

_REASON_LIMIT = 1000


class DeadLetters:
    """The queue of these settings. It is asked for its address when the first message dies."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._url: str | None = None

    def add(self, row: Outgoing, reason: str) -> None:
        """Put a message there, with the attributes it had and `dead_reason`; nothing without a queue.

        On a FIFO queue a repetition within five minutes is dropped. Raises ClientError, BotoCoreError.
        """
        name = self._settings.dead_letters
        if not name:
            return
        sqs = client(self._settings, "sqs")
        if self._url is None:
            self._url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        said = {name: value for name, value in row.attributes.items() if name != "symbols"}
        said["dead_reason"] = reason[:_REASON_LIMIT]
        sqs.send_message(
            QueueUrl=self._url,
            MessageBody=shortened(row.body, lambda body: len(body.encode()) <= LIMIT - 4 * _REASON_LIMIT),
            MessageAttributes={key: {"DataType": "String", "StringValue": value} for key, value in said.items()},
            **(
                {"MessageGroupId": group_of(row), "MessageDeduplicationId": deduplication_of(row)}  # type: ignore[arg-type]
                if is_fifo(name)
                else {}
            ),
        )
