"""Step 5: one dbt build over the accepted loads, the audit of the marts, and the queue for detection.

It drains: every accepted load that is not transformed yet is taken, whatever woke it. The batch of a run that crashed
is still there and is taken again; building it twice gives the same marts.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from include.crashpoints import crash_point
from include.settings import Settings
from include.transform.batch import close_batch, open_batch
from include.transform.runner import BuildResult, build_all, build_changed
from include.warehouse.db import connect
from include.warehouse.leases import Lease, lease
from include.warehouse.outcomes import attempt

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TransformReport:
    """What was taken: loads, events newly in them, candles and symbols that they touched; seconds by model and test."""

    loads: int = 0
    events: int = 0
    candles: int = 0
    symbols: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        if not self.loads:
            return "no new load, nothing to do"
        return f"{self.loads} loads with {self.events} events: {self.candles} candles of {self.symbols} symbols"


def transform(settings: Settings, *, run_id: str | None = None, full_refresh: bool = False) -> TransformReport:
    """Build what the accepted loads changed (or everything anew from raw) and mark the loads as transformed.

    Raises LeaseHeldError if another process transforms right now, TransformError if a model or a data test fails,
    MartsRejectedError if the audit of the marts does, FencedError if another process took over. The loads then stay
    accepted, and the next run takes them again.
    """
    with connect(settings) as conn, attempt(conn, "transform", run_id=run_id) as this:
        with lease(conn, "transform", seconds=settings.lease_seconds) as held:
            if not open_batch(conn) and not full_refresh:
                return TransformReport()
            crash_point("before_dbt")
            with held.kept():
                build = _build(settings, held, full_refresh)
                crash_point("after_dbt")
                _audit(settings)
            with conn.transaction():
                held.fence()
                report = _report(held, build)
                close_batch(conn, build.loads)
                crash_point("before_transform_commit")
            crash_point("after_transform_commit")
        this.row_count = report.candles
        this.detail = {"loads": report.loads, "events": report.events, "seconds": dict(report.seconds)}
    log.info("transform: %s; %s", report, build)
    return report


def _build(settings: Settings, held: Lease, full_refresh: bool) -> BuildResult:
    if full_refresh:
        return build_all(settings, full_refresh=True, epoch=held.epoch)
    return build_changed(settings, epoch=held.epoch)


def _audit(settings: Settings) -> None:
    from include.quality.marts import audit_marts

    audit_marts(settings)


def _report(held: Lease, build: BuildResult) -> TransformReport:
    events, candles, symbols = held.conn.execute(
        "select (select coalesce(sum(inserted_count), 0)::bigint from ops.loads where load_id = any(%s)), "
        "count(*), count(distinct symbol) from intermediate.int_changed_minutes",
        [list(build.loads)],
    ).fetchone() or (0, 0, 0)
    return TransformReport(
        len(build.loads), events, candles, symbols, {node.name: round(node.seconds, 3) for node in build.nodes}
    )
