"""Many small loads accepted at once, where there is nothing to say of them; the others are left to the audit."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from include.crashpoints import crash_point
from include.errors import LeaseHeldError, LedgerError
from include.pipeline.audit import STEP
from include.quality.audit import Limits, limits
from include.quality.rows import LoadFacts
from include.quality.together import all_is_well
from include.settings import Settings
from include.warehouse.db import connect
from include.warehouse.leases import lease
from include.warehouse.ledger import accept, get_load
from include.warehouse.outcomes import record


def accept_together(settings: Settings, loads: Mapping[int, datetime], *, run_id: str | None = None) -> set[int]:
    """Accept those of these landed loads that break no rule as of their times (UTC); the ids of those.

    Each is a transaction of its own, under a lease of its own. They get no page in the data docs.
    """
    with connect(settings) as conn:
        found = [get_load(conn, load_id) for load_id in sorted(loads)]
        general = limits(conn, settings, max(loads.values()))
        judged = [
            (
                LoadFacts(load.load_id, load.origin, load.is_live, load.read_count, load.quarantined_count),
                _as_of(general, loads[load.load_id], settings),
            )
            for load in found
            if load.state == "landed"
        ]
        well = all_is_well(conn, judged) if judged else set()
        done: set[int] = set()
        for load_id in sorted(well):
            # Somebody else has it in hand, or has judged it meanwhile: what is left is left to the audit.
            with (
                suppress(LeaseHeldError, LedgerError),
                lease(conn, f"{STEP} {load_id}", seconds=settings.lease_seconds) as held,
            ):
                with conn.transaction():
                    accepted = accept(conn, held, load_id)
                    record(
                        conn, "audit_load", True, run_id=run_id, row_count=accepted.inserted,
                        detail={"load_id": load_id, "duplicates": accepted.duplicates, "together": len(judged)},
                    )  # fmt: skip
                    crash_point("before_audit_commit")
                crash_point("after_audit_commit")
                done.add(load_id)
    return done


def _as_of(general: Limits, now: datetime, settings: Settings) -> Limits:
    return replace(general, now=now, latest_time=now + timedelta(seconds=settings.audit_future_seconds))
