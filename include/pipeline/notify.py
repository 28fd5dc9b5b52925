"""Step 7: the outbox to SNS, in order. A row is marked as sent after SNS took it, never before.

A crash between the two publishes once more with the same key, and the FIFO topic drops the second one.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import Final

import psycopg

from include.crashpoints import crash_point
from include.errors import LakeError, NotifyError
from include.notify.outbox import Published, Publisher, batches, group_of
from include.pipeline.keepsakes import keep_sent_alerts
from include.settings import Settings
from include.warehouse.alerts import Unsent, count_unsent, mark_failed, mark_sent, unsent
from include.warehouse.db import connect
from include.warehouse.leases import Lease, lease
from include.warehouse.outcomes import attempt

log = logging.getLogger(__name__)

PAGE: Final = 1000  # rows of the outbox in memory at once
PATIENCE: Final = 10  # runs in which a row that SNS calls malformed holds back the later ones of its group


@dataclass(frozen=True, slots=True)
class NotifyReport:
    """How many alerts SNS took, and how many wait."""

    sent: int = 0
    waiting: int = 0

    def __str__(self) -> str:
        return f"{self.sent} alerts sent, {self.waiting} wait"


def notify(settings: Settings, *, run_id: str | None = None) -> NotifyReport:
    """Send what waits in the outbox.

    Raises NotifyError if SNS did not take everything: nothing is lost, and the next run goes on in order. A refused
    alert holds back the later ones of its symbol. Raises LeaseHeldError if another process sends right now.
    """
    with (
        connect(settings) as conn,
        attempt(conn, "notify", run_id=run_id) as this,
        lease(conn, "notify", seconds=settings.lease_seconds) as held,
    ):
        sent, problem = _drain(conn, held, Publisher(settings))
        _keep(settings)
        report = NotifyReport(sent, count_unsent(conn))
        this.row_count = sent
        this.detail = asdict(report)
        if problem:
            raise NotifyError(
                f"{report}; SNS said: {problem}\n"
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


def _drain(conn: psycopg.Connection, held: Lease, publisher: Publisher) -> tuple[int, str | None]:
    """Publish page after page; how many SNS took, and the first problem if there was one."""
    sent, last = 0, 0
    problem: str | None = None
    blocked: set[str] = set()
    while page := unsent(conn, after=last, limit=PAGE):
        last = page[-1].outbox_id
        for batch in batches(page, fifo=publisher.fifo, held=blocked):
            crash_point("before_publish")
            published = publisher.publish(batch)
            crash_point("after_publish")
            _mark(conn, held, batch, published)
            crash_point("after_mark_sent")
            sent += len(published.taken)
            if published.broken:
                return sent, str(published.broken)
            for row in batch:
                if refusal := published.refused.get(row.outbox_id):
                    problem = problem or f"{row.subject!r}: {refusal.reason}"
                    if not (refusal.is_ours and row.attempts >= PATIENCE):
                        blocked.add(group_of(row))
    return sent, problem


def _mark(conn: psycopg.Connection, held: Lease, batch: list[Unsent], published: Published) -> None:
    with conn.transaction():
        held.renew()
        if published.taken:
            mark_sent(conn, published.taken)
        for row in batch:
            if row.outbox_id not in published.taken:
                refusal = published.refused.get(row.outbox_id)
                mark_failed(conn, [row.outbox_id], refusal.reason if refusal else str(published.broken))
