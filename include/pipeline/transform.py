"""Step 5: one dbt build over a batch of accepted loads, the audit of the marts, and the queue for detection.

It drains: what waits is taken, whatever woke it, batch after batch. What is live comes first, all at once; history
comes in slices, and between two of them it looks again for what is live. No slice is begun that would still be at work
when the next live load is expected: a cadence after the last one. The batch of a run that crashed is still there
and is taken again; building it twice gives the same marts.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

import psycopg

from include.crashpoints import crash_point
from include.errors import TransformError
from include.events import iso
from include.settings import Settings
from include.transform.batch import Backlog, Lane, backlog, close_batch, lane_of, open_batch
from include.transform.results import failure_kept, keep_results
from include.transform.runner import BuildResult, build_all, build_changed
from include.warehouse.db import connect
from include.warehouse.leases import Lease, lease
from include.warehouse.outcomes import Attempt, attempt
from include.warehouse.retention import removed_events_before

log = logging.getLogger(__name__)

LONGEST: Final = 600.0  # seconds after which no further slice of history is begun
_SLICE: Final = 5.0  # seconds that a slice takes, until one has told
_LATE: Final = 2.0  # seconds by which a live load may be late
_LOOK: Final = 0.1  # seconds between two looks for it

_NEXT_LIVE: Final = """
select extract(epoch from audited_at + make_interval(secs => %s) - clock_timestamp())::float8
from ops.loads where is_live and audited_at is not null order by load_id desc limit 1
"""


@dataclass(frozen=True, slots=True)
class TransformReport:
    """What was taken: loads, events newly in them, candles and symbols that they touched; seconds by model and test.

    `slices` are the batches of history among it. `is_more_left`: accepted loads wait for another run.
    """

    loads: int = 0
    events: int = 0
    candles: int = 0
    symbols: int = 0
    slices: int = 0
    is_more_left: bool = False
    seconds: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        if not self.loads:
            return "no new load, nothing to do"
        slices = f" ({self.slices} slices of history)" if self.slices else ""
        more = ", more loads wait" if self.is_more_left else ""
        return (
            f"{self.loads} loads with {self.events} events{slices}: "
            f"{self.candles} candles of {self.symbols} symbols{more}"
        )


def transform(
    settings: Settings,
    *,
    run_id: str | None = None,
    full_refresh: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> TransformReport:
    """Build what the accepted loads changed (or everything anew from raw) and mark the loads as transformed.

    It ends when nothing waits, after a batch of live loads (detection is to have it, whatever history waits), or with
    the slice of history in which `LONGEST` seconds have passed; `is_more_left` says whether to call it again.

    Raises LeaseHeldError if another process transforms right now, TransformError if a model or a data test fails,
    MartsRejectedError if the audit of the marts does, FencedError if another process took over. The loads of that batch
    then stay accepted, and the next run takes them again; what was built before it stays.
    """
    with connect(settings) as conn, ExitStack() as stack:
        run, began = _Run(settings, conn), clock()
        held: Lease | None = None
        while True:
            run.let_live_pass()
            with attempt(conn, "transform", run_id=run_id) as this:
                held = held or stack.enter_context(lease(conn, "transform", seconds=settings.lease_seconds))
                lane = run.batch(held, this, full_refresh=full_refresh)
            left = backlog(conn)
            if lane != "history" or not left or clock() - began >= LONGEST:
                return run.report(left)
            full_refresh = False


class _Run:
    """The batches of one run and what they sum up to."""

    def __init__(self, settings: Settings, conn: psycopg.Connection) -> None:
        self.settings, self.conn = settings, conn
        self.loads = self.events = self.candles = self.slices = 0
        self.symbols: set[str] = set()
        self.seconds: Counter[str] = Counter()
        self.slice_seconds = _SLICE

    def report(self, left: Backlog) -> TransformReport:
        return TransformReport(
            self.loads,
            self.events,
            self.candles,
            len(self.symbols),
            self.slices,
            bool(left),
            {name: round(seconds, 3) for name, seconds in self.seconds.items()},
        )

    def let_live_pass(self) -> None:
        """Where only history waits and a live load is expected before a slice would be done: wait for that load."""
        left = backlog(self.conn)
        if left.live or not left.history:
            return
        found = self.conn.execute(_NEXT_LIVE, [self.settings.cadence_seconds]).fetchone()
        if found is None or not 0 < found[0] < self.slice_seconds:
            return
        until = time.monotonic() + found[0] + _LATE
        while time.monotonic() < until and not backlog(self.conn).live:
            time.sleep(_LOOK)

    def batch(self, held: Lease, this: Attempt, *, full_refresh: bool) -> Lane | None:
        """Build, audit and close one batch; its lane, None if nothing waits."""
        if not open_batch(self.conn, self.settings.transform_history_events) and not full_refresh:
            return None
        began = time.monotonic()
        crash_point("before_dbt")
        with held.kept(), failure_kept(self.conn):
            build = self._build(held, full_refresh=full_refresh)
            crash_point("after_dbt")
            _audit(self.settings)
        with self.conn.transaction():
            held.fence()
            lane = lane_of(self.conn, build.loads)
            events, candles = self._count(build)
            close_batch(self.conn, build.loads)
            keep_results(self.conn, build.nodes, whole=build.is_whole)
            crash_point("before_transform_commit")
        crash_point("after_transform_commit")
        seconds = {node.name: round(node.seconds, 3) for node in build.nodes}
        self.loads += len(build.loads)
        self.events += events
        self.candles += candles
        if lane == "history":
            self.slices += 1
            self.slice_seconds = time.monotonic() - began
        self.seconds.update(seconds)
        this.row_count = candles
        written = {node.name: node.rows for node in build.nodes if node.kind == "model" and node.rows is not None}
        this.detail = {
            "loads": len(build.loads), "events": events, "lane": lane, "seconds": seconds, "rows": written
        }  # fmt: skip
        log.info(
            "transform: %s, %d loads with %d events: %d candles; %s", lane, len(build.loads), events, candles, build
        )
        return lane

    def _build(self, held: Lease, *, full_refresh: bool) -> BuildResult:
        if full_refresh:
            if (before := removed_events_before(self.conn)) is not None:
                raise TransformError(
                    f"raw events before {iso(before)} are in the lake alone (QUANTSTREAM_KEEP_EVENTS_DAYS): a full "
                    "refresh would lose what was made of them. `quantstream rebuild` makes the marts of the lake"
                )
            return build_all(self.settings, full_refresh=True, epoch=held.epoch)
        return build_changed(self.settings, epoch=held.epoch)

    def _count(self, build: BuildResult) -> tuple[int, int]:
        """Events newly in the loads, and the candles that changed; their symbols are noted."""
        events, candles, symbols = self.conn.execute(
            "select (select coalesce(sum(inserted_count), 0)::bigint from ops.loads where load_id = any(%s)), "
            "count(*), array_agg(distinct symbol) from intermediate.int_changed_minutes",
            [list(build.loads)],
        ).fetchone() or (0, 0, None)
        self.symbols.update(symbols or ())
        return events, candles


def _audit(settings: Settings) -> None:
    from include.quality.marts import audit_marts

    audit_marts(settings)
