"""Step 7: the outbox to SNS, in order. A message is marked as sent after SNS took it, never before.

A crash between the two publishes once more with the same key, and a FIFO topic drops the second one. A message that
SNS itself calls wrong, run after run, becomes a dead letter and holds up the others no longer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import psycopg

from include.alert_text import sparkline
from include.crashpoints import crash_point
from include.errors import LakeError, NotifyError
from include.notify.dead_letters import DeadLetters
from include.notify.dressing import CHART_SPAN, Message, dress, wants_spark
from include.notify.outbox import Published, Publisher, batches, group_of
from include.notify.topics import topic_of
from include.pipeline.keepsakes import keep_sent_alerts
from include.settings import Settings
from include.warehouse.closes import closes_before
from include.warehouse.db import connect
from include.warehouse.leases import Lease, lease
from include.warehouse.outbox import (
    Acceptance,
    Unsent,
    count_dead,
    count_unsent,
    mark_dead,
    mark_failed,
    mark_sent,
    unsent,
)
from include.warehouse.outcomes import attempt

log = logging.getLogger(__name__)

PAGE: Final = 1000  # rows of the outbox in memory at once
PATIENCE: Final = 10  # runs in which a message that SNS calls wrong holds back the later ones of its group
SPARK_WIDTH: Final = 32  # blocks
SPARKS: Final = 200  # messages of a page that get one: those of a thousand would take the others 0.45 s

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class NotifyReport:
    """How many messages SNS took, how many wait, and how many are dead: they wait for a person."""

    sent: int = 0
    waiting: int = 0
    dead: int = 0

    def __str__(self) -> str:
        dead = f", {self.dead} dead (`quantstream alerts redeliver --dead`)" if self.dead else ""
        return f"{self.sent} alerts sent, {self.waiting} wait{dead}"


def notify(settings: Settings, *, run_id: str | None = None, clock: Clock = lambda: datetime.now(UTC)) -> NotifyReport:
    """Send what waits in the outbox. `clock` says (UTC) when a message leaves, and so whether it is late.

    Raises NotifyError if SNS did not take everything: nothing is lost, and the next run goes on in order. A refused
    message holds back the later ones of its symbol. Raises LeaseHeldError if another process sends right now.
    """
    with (
        connect(settings) as conn,
        attempt(conn, "notify", run_id=run_id) as this,
        lease(conn, "notify", seconds=settings.lease_seconds) as held,
    ):
        run = _Run(settings, conn, held, clock)
        run.drain()
        _keep(settings)
        report = NotifyReport(run.sent, count_unsent(conn), count_dead(conn))
        this.row_count = run.sent
        this.detail = asdict(report)
        if run.problem:
            raise NotifyError(
                f"{report}; SNS said: {run.problem}\n"
                "They stay in ops.outbox (last_error) and go out with the next run; `quantstream status` counts them."
            )
    log.info("notify: %s", report)
    return report


def _keep(settings: Settings) -> None:
    """The lake notes what was sent, should the database be lost. No alert waits for it: the next run tries again."""
    try:
        keep_sent_alerts(settings)
    except LakeError as error:
        log.warning("the sent alerts could not be noted in the lake: %s", error)


class _Run:
    """One run through the outbox: page after page, each cut by topic and into batches."""

    def __init__(self, settings: Settings, conn: psycopg.Connection, held: Lease, clock: Clock) -> None:
        self.sent = 0
        self.problem: str | None = None
        self._settings, self._conn, self._held, self._clock = settings, conn, held, clock
        self._late_after = timedelta(seconds=settings.alert_late_seconds)
        self._publishers: dict[str | None, Publisher] = {}
        self._publisher(settings.topic_arn)  # without a topic it refuses, even if nothing waits
        self._down: set[str | None] = set()  # topics that take nothing in this run
        self._blocked: dict[str | None, set[str]] = {}  # by topic the groups whose order would break
        self._dead_letters = DeadLetters(settings)

    def drain(self) -> None:
        """Publish what waits, oldest first within each topic."""
        last = 0
        while page := unsent(self._conn, after=last, limit=PAGE):
            last = page[-1].outbox_id
            topics: dict[str | None, list[Unsent]] = {}
            for row in page:
                topics.setdefault(topic_of(self._settings, row.attributes.get("severity", "")), []).append(row)
            for topic, rows in topics.items():
                if topic not in self._down:
                    self._send(topic, rows)
            if self._down and self._down >= topics.keys():
                return  # all that this page needs is down: so it is for the next ones

    def _publisher(self, topic: str | None) -> Publisher:
        if topic not in self._publishers:
            self._publishers[topic] = Publisher(self._settings, topic)
        return self._publishers[topic]

    def _send(self, topic: str | None, rows: Sequence[Unsent]) -> None:
        publisher = self._publisher(topic)
        blocked = self._blocked.setdefault(topic, set())
        refusals = {row.outbox_id: row.refusals for row in rows}
        dressed = self._dressed(rows)
        for batch in batches(dressed, fifo=publisher.fifo, held=blocked):
            crash_point("before_publish")
            published = publisher.publish(batch)
            crash_point("after_publish")
            self._mark(batch, published, publisher.arn)
            crash_point("after_mark_sent")
            self.sent += len(published.taken)
            if published.broken:
                self.problem = self.problem or str(published.broken)
                self._down.add(topic)
                return
            for message in batch:
                if refusal := published.refused.get(message.outbox_id):
                    self.problem = self.problem or f"{message.subject!r}: {refusal.reason}"
                    if refusal.is_ours and refusals[message.outbox_id] + 1 >= PATIENCE:
                        self._bury(message, refusal.reason)
                    else:
                        blocked.add(group_of(message))

    def _dressed(self, rows: Sequence[Unsent]) -> Iterator[Message]:
        now, sparks = self._clock(), self._sparks(rows)
        return (
            dress(
                row,
                now,
                late_after=self._late_after,
                chart_url=self._settings.chart_url,
                spark=sparks.get(row.outbox_id, ""),
            )
            for row in rows
        )

    def _sparks(self, rows: Sequence[Unsent]) -> dict[int, str]:
        """The last hours of each message's instrument; none where a link shows them. No alert waits or fails for it."""
        if self._settings.chart_url:
            return {}
        wanted = {row.outbox_id: about for row in rows[:SPARKS] if (about := wants_spark(row))}
        try:
            found = closes_before(self._conn, wanted, span=CHART_SPAN, count=SPARK_WIDTH)
        except psycopg.Error as error:
            log.warning("alerts go out without their last hours: %s", str(error).splitlines()[0])
            return {}
        return {number: sparkline(closes) for number, closes in found.items()}

    def _mark(self, batch: Sequence[Message], published: Published, topic: str) -> None:
        now = self._clock()
        taken = {
            message.outbox_id: Acceptance(
                published.taken[message.outbox_id],
                topic,
                now,
                (now - message.candle_end).total_seconds() if message.candle_end else None,
            )
            for message in batch
            if message.outbox_id in published.taken
        }
        with self._conn.transaction():
            self._held.renew()
            if taken:
                mark_sent(self._conn, taken)
            for message in batch:
                if message.outbox_id not in taken:
                    refusal = published.refused.get(message.outbox_id)
                    mark_failed(
                        self._conn,
                        [message.outbox_id],
                        refusal.reason if refusal else str(published.broken),
                        is_refused=refusal is not None and refusal.is_ours,
                    )

    def _bury(self, message: Message, reason: str) -> None:
        """First the queue, then the mark: killed between the two, the next run does both again."""
        from botocore.exceptions import BotoCoreError, ClientError

        crash_point("before_dead_letter")
        try:
            self._dead_letters.add(message, reason)
        except (BotoCoreError, ClientError) as error:  # the outbox is what counts
            log.warning("%s is not in the queue %s: %s", message.message_key, self._settings.dead_letters, error)
        crash_point("after_dead_letter")
        with self._conn.transaction():
            self._held.renew()
            mark_dead(self._conn, [message.outbox_id], reason)
