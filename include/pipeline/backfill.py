"""History of a source -> S3 -> Postgres -> audit, for one window: what is not there yet, and nothing twice.

Windows may be brought in parallel, in any order, twice, and beside the live minutes. What came before a crash, an error
or the end of a budget stays, and the next backfill goes on behind it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from include.events import Kind, Window
from include.pipeline.history.bringing import Bringing
from include.pipeline.history.planning import Day, Plan, VendorRoom, plan
from include.pipeline.history.report import BackfillReport
from include.pipeline.history.scope import scope
from include.settings import Settings
from include.warehouse import history
from include.warehouse.db import connect
from include.warehouse.leases import lease
from include.warehouse.outcomes import attempt

__all__ = ["BackfillReport", "Day", "Plan", "VendorRoom", "backfill", "plan"]

log = logging.getLogger(__name__)


def backfill(
    settings: Settings,
    source: str,
    window: Window,
    *,
    kind: Kind | None = None,
    symbols: Collection[str] | None = None,
    reprocess: bool = False,
    gaps: bool = False,
    run_id: str | None = None,
    progress: Callable[[int], object] | None = None,
) -> BackfillReport:
    """Fetch what is missing of the window (UTC), land it, load it and have it audited.

    `kind` is the source's usual one unless given, `symbols` (ours) are all that the source has; of those given the ones
    it does not have are left out. `reprocess` asks for everything again, `gaps` for the minutes known as missing
    (`include.pipeline.gaps`), covered or not; with the same `run_id` either goes on where it stopped. After each answer
    `progress` gets the number of events so far.

    Whatever it raises, what came until then is landed, and with the errors from the vendor on also loaded and audited:
    LeaseHeldError if another process works on the window or an object of it, ConfigError for a source, kind or symbol
    that does not exist and for a window in the future, HistoryDeferredError if the vendor is not to be asked on now,
    SourceError if it fails, LoadRejectedError if the audit rejected a load of the window that nobody accepted since,
    BalanceError, LakeError.
    """
    with connect(settings) as conn, connect(settings) as writes:
        with attempt(conn, "history", source=source, window=window, run_id=run_id) as this:
            about = scope(conn, settings, source, window, kind=kind, symbols=symbols)
            this.detail |= {"kind": about.kind}
            name = history.lease_name(source, about.kind, window.start)
            with lease(conn, name, seconds=settings.lease_seconds) as held, held.kept():
                work = Bringing(about, held, writes, window, run_id, this)
                report = work.run(reprocess=reprocess, gaps=gaps, progress=progress)
        log.info("history: %s", report)
        if work.deferred is not None:
            raise work.deferred
    return report
