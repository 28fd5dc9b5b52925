"""One backfill at work: what a dead process left, then what is missing, then loading and the audit."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import psycopg

from include.aws import client
from include.crashpoints import crash_point
from include.errors import (
    BalanceError,
    HistoryDeferredError,
    LeaseHeldError,
    LoadRejectedError,
    RefusedError,
    SourceError,
)
from include.events import Window, iso
from include.pipeline.audit import AuditReport, audit
from include.pipeline.history.fetching import Fetching
from include.pipeline.history.landing import Landing
from include.pipeline.history.report import BackfillReport
from include.pipeline.history.scope import Scope
from include.pipeline.load import load_object
from include.pipeline.pull import write_labels
from include.warehouse import history
from include.warehouse.leases import Lease, lease
from include.warehouse.outcomes import Attempt
from include.warehouse.vendors import left_alone_until

_MOST_NAMED: Final = 50
_SOON: Final = timedelta(minutes=5)  # where a vendor does not say when it may be asked again


class Bringing:
    """`conn` is free for its writes: that of the lease is renewed from a thread. `deferred` says why it stops early."""

    def __init__(
        self, about: Scope, held: Lease, conn: psycopg.Connection, window: Window, run_id: str | None, outcome: Attempt
    ) -> None:
        self.about, self.settings, self.conn, self.run_id = about, about.settings, conn, run_id
        self.outcome, self.s3 = outcome, client(about.settings, "s3")
        self.landing = Landing(about, replace(held, conn=conn), self.s3, window, run_id or f"backfill-{uuid.uuid4()}")
        self.deferred: HistoryDeferredError | None = None

    def run(self, *, reprocess: bool, gaps: bool, progress: Callable[[int], object] | None) -> BackfillReport:
        """Raises what `backfill` raises, but for HistoryDeferredError."""
        about, landing = self.about, self.landing
        self._take_over()
        missing = about.missing(self.conn, reprocess=reprocess, gaps=gaps, run_id=self.run_id)
        asked = {symbol for symbol, _ in missing}
        fetching = Fetching(about, landing, progress)
        try:
            fetching.run(about.groups(missing))
        finally:
            self._tell(fetching, len(asked))
        if about.source == "simulator" and asked:
            write_labels(self.conn, self.settings.simulator_seed, about.instruments, about.window)
        audited = self._bring_in(landing.landed)
        self.outcome.detail |= {"inserted": audited.inserted, "duplicates": audited.duplicates}
        self._end(fetching, reprocess)
        return BackfillReport(
            about.source, about.kind, about.window, asked=len(asked), covered=len(about.open.keys() - asked),
            closed=len(about.closed), calls=fetching.calls, events=landing.events, objects=len(landing.landed),
            bytes=landing.bytes, inserted=audited.inserted, duplicates=audited.duplicates,
            quarantined=audited.quarantined, rejected=landing.rejected, empty=tuple(sorted(fetching.empty)),
            refused=tuple(fetching.refused.items()),
        )  # fmt: skip

    def _take_over(self) -> None:
        """Finish what processes that died left of this window, and of others that overlap it."""
        about, landing = self.about, self.landing
        for piece in history.open_pieces(self.conn, about.source, about.kind, about.window):
            if piece.window.start == landing.window.start:
                landing.take_over(piece)
                continue
            name = history.lease_name(piece.source, piece.kind, piece.window.start)
            try:
                with lease(self.conn, name, seconds=self.settings.lease_seconds) as held:
                    other = Landing(about, held, self.s3, piece.window, piece.run_id or "")
                    other.take_over(piece)
                    self._bring_in(other.landed)
            except LeaseHeldError:
                continue  # its own process is at it

    def _bring_in(self, landed: Mapping[str, str]) -> AuditReport:
        """Load the landed objects (key -> SHA-256) and have them judged. Raises what these raise."""
        load_ids = [
            load_id
            for key, sha256 in landed.items()
            for load_id in load_object(self.settings, key, sha256=sha256, run_id=self.run_id).load_ids
        ]
        if not load_ids:
            return AuditReport()
        try:
            audited = audit(self.settings, loads=load_ids, run_id=self.run_id)
        except (LoadRejectedError, BalanceError):
            history.settle(self.conn, landed)
            raise
        crash_point("before_history_settled")
        history.settle(self.conn, landed)
        crash_point("after_history_settled")
        return audited

    def _end(self, fetching: Fetching, reprocess: bool) -> None:
        """Say how it ended: deferred, failed, or with loads that the audit rejected, now or by an earlier try."""
        about = self.about
        why: SourceError | None = None
        until: datetime | None = None
        if fetching.deferred is not None:
            why, until = fetching.deferred, _until(fetching.deferred)
        elif fetching.failures:
            why, until = fetching.failures[0], left_alone_until(self.conn, about.source)
        if until is not None:
            span = f"{iso(about.window.start)} to {iso(about.window.end)}"
            self.deferred = HistoryDeferredError(
                f"{about.source} {about.kind}s of {span} go on at {iso(until)}: {why}", until
            )
            self.outcome.detail |= {"deferred_until": until, "why": str(why)}
        elif why is not None:
            raise why
        elif reprocess:
            history.supersede(self.conn, about.source, about.kind, about.window, list(about.ids), self.landing.run_id)
        if rejected := history.rejected_loads(self.conn, about.source, about.kind, about.window, list(about.ids)):
            raise LoadRejectedError(
                f"{about.source} {about.kind}s: the loads {', '.join(map(str, rejected[:_MOST_NAMED]))} of this window "
                f"are rejected; `quantstream loads show {rejected[0]}` says why, `quantstream loads accept` brings one "
                "in as it is, `quantstream backfill --reprocess` asks the vendor again"
            )

    def _tell(self, fetching: Fetching, asked: int) -> None:
        """However it ended: the outcome says how far it came."""
        landing = self.landing
        self.outcome.row_count = landing.events
        self.outcome.detail |= {
            "asked": asked, "closed": len(self.about.closed), "calls": fetching.calls, "objects": len(landing.landed),
            "rejected": landing.rejected, "empty": sorted(fetching.empty)[:_MOST_NAMED],
            "refused": dict(list(fetching.refused.items())[:_MOST_NAMED]),
        }  # fmt: skip


def _until(refused: RefusedError) -> datetime | None:
    """When the vendor may be asked again, as the refusal says; a little later than now where it does not.

    None: a call is larger than the budget, so that waiting does not help.
    """
    said = refused.detail.get("until", "")
    if said is None:
        return None
    try:
        return datetime.fromisoformat(str(said))
    except ValueError:
        return datetime.now(UTC) + _SOON
