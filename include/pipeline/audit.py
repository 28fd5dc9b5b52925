"""Step 4: every landed load is judged; good rows become market events, bad rows go to quarantine, bad loads stay out.

A load holds what several sources sent. One of them that is bad is set aside: its rows go to quarantine, the others come
in, and an operations alert says so. Only a load that is bad as a whole, or in all of its sources, is rejected.

A rejected load does not hold up the others: all are judged, and the error comes at the end.

Two lanes. What the stream brought is audited as a whole, under the lease "audit". History is audited load by load, by
whoever brought it, each under a lease of its own: beside the live lane and many at once.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Final

import psycopg

from include.alerts import Alert
from include.crashpoints import crash_point
from include.errors import BalanceError, LeaseHeldError, LedgerError, LoadRejectedError
from include.quality.audit import Limits, Verdict, judge, limits
from include.quality.rows import LoadFacts
from include.quality.site import Page, page_file, publish
from include.settings import Settings
from include.warehouse.alerts import insert_alerts
from include.warehouse.db import connect
from include.warehouse.leases import Lease, lease
from include.warehouse.ledger import Accepted, BadRow, Load, accept, get_load, landed_loads, reject, release_watermarks
from include.warehouse.outcomes import Attempt, attempt, record

log = logging.getLogger(__name__)

STEP: Final = "audit"
HISTORY_STEP: Final = "audit_history"


@dataclass(frozen=True, slots=True)
class AuditReport:
    """How many loads were accepted and rejected, and what became of the rows of the accepted ones.

    `set_aside` names the sources whose rows went to quarantine as a whole, and of which load; it counts nothing, so it
    is no part of a comparison.
    """

    accepted: int = 0
    rejected: int = 0
    inserted: int = 0
    duplicates: int = 0
    quarantined: int = 0
    set_aside: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        if not self.accepted and not self.rejected:
            return "no new load, nothing to do"
        rejected = f", {self.rejected} loads rejected" if self.rejected else ""
        aside = "".join(f", {one} was set aside" for one in self.set_aside)
        return (
            f"{self.accepted} loads accepted: {self.inserted} rows inserted, {self.duplicates} duplicates, "
            f"{self.quarantined} quarantined{rejected}{aside}"
        )


def audit(
    settings: Settings,
    *,
    loads: Collection[int] | None = None,
    is_rebuild: bool = False,
    run_id: str | None = None,
    now: datetime | None = None,
) -> AuditReport:
    """Judge all landed live loads, oldest first, as of `now` (UTC; the clock's, unless given).

    With `loads`, the ids of loads of history, judge exactly those of them that are landed. A live one among them is
    left to the live lane, but by a rebuild (`is_rebuild`): it stands in for that lane and has what the stream brought
    judged as it was when it came.

    Raises, after the last load: LoadRejectedError naming the failed expectations of each rejected load and where its
    page is, BalanceError for loads that were rolled back, or LeaseHeldError for loads of history that another process
    audits right now. Raises at once LedgerError for an id that no load has, LeaseHeldError if another process audits
    the live loads, FencedError if one took over; what was accepted until then stays accepted.
    """
    with connect(settings) as conn:
        step = _Step(settings, conn, now or datetime.now(UTC), run_id, is_rebuild=is_rebuild)
        if loads is not None:
            with attempt(conn, HISTORY_STEP, run_id=run_id, detail={"loads": sorted(loads)}) as this:
                for load_id in sorted(set(loads)):
                    step.take_history(load_id)
                return step.end(this)
        with (
            attempt(conn, STEP, run_id=run_id) as this,
            lease(conn, STEP, seconds=settings.lease_seconds) as held,
        ):
            for load in landed_loads(conn):
                step.take(load, held)
            release_watermarks(conn, held)
            return step.end(this)


def accept_rejected(settings: Settings, load_id: int, *, run_id: str | None = None) -> AuditReport:
    """Bring a rejected load in although its batch was found bad: a person has decided.

    Its rows are judged again, as of the time of its audit but against today's instruments; bad ones go to quarantine.
    Raises LedgerError if the load is not rejected (or its rows cannot be read at all), LeaseHeldError, FencedError,
    BalanceError; nothing is changed then.
    """
    with (
        connect(settings) as conn,
        attempt(conn, "accept_rejected", run_id=run_id, detail={"load_id": load_id}) as this,
        lease(conn, _lane(get_load(conn, load_id)), seconds=settings.lease_seconds) as held,
    ):
        load = get_load(conn, load_id)
        if load.state != "rejected":
            raise LedgerError(f"load {load_id} is {load.state}; only a rejected load is accepted by hand")
        step = _Step(settings, conn, load.audited_at or load.loaded_at, run_id)
        step.accept_by_hand(load, held)
        report = step.report()
        this.row_count = report.inserted
        log.warning("load %d (%s) was accepted by hand: %s", load_id, load.origin, report)
    return report


def _lane(load: Load) -> str:
    """The lease under which the load is audited."""
    return STEP if load.is_live else f"{STEP} {load.load_id}"


class _Step:
    """The state of one run: its limits are read with the first load, its counts grow with each."""

    def __init__(
        self,
        settings: Settings,
        conn: psycopg.Connection,
        now: datetime,
        run_id: str | None,
        *,
        is_rebuild: bool = False,
    ) -> None:
        self.settings, self.conn, self.now, self.run_id, self.is_rebuild = settings, conn, now, run_id, is_rebuild
        self.limits: Limits | None = None
        self.accepted: list[Accepted] = []
        self.set_aside: list[str] = []
        self.rejections: list[str] = []
        self.unbalanced: list[str] = []
        self.busy: list[str] = []

    def report(self) -> AuditReport:
        return AuditReport(
            len(self.accepted),
            len(self.rejections),
            sum(one.inserted for one in self.accepted),
            sum(one.duplicates for one in self.accepted),
            sum(one.quarantined for one in self.accepted),
            tuple(self.set_aside),
        )

    def end(self, this: Attempt) -> AuditReport:
        """Tell the outcome and the log how it went; raise for what did not come in, the worst first."""
        report = self.report()
        this.row_count = report.inserted
        this.detail |= asdict(report)
        log.info("audit: %s", report)
        if self.rejections:
            raise LoadRejectedError("\n".join([*self.rejections, *self.unbalanced, *self.busy]))
        if self.unbalanced:
            raise BalanceError("\n".join([*self.unbalanced, *self.busy]))
        if self.busy:
            raise LeaseHeldError("\n".join(self.busy))
        return report

    def take_history(self, load_id: int) -> None:
        """Take a load of history that is landed, unless another process has it in hand right now."""
        load = get_load(self.conn, load_id)
        if load.is_live and not self.is_rebuild:
            log.info("load %d (%s) is live, the live audit takes it", load_id, load.origin)
            return
        if load.state != "landed":
            return
        try:
            with lease(self.conn, f"{STEP} {load_id}", seconds=self.settings.lease_seconds) as held:
                load = get_load(self.conn, load_id)
                if load.state == "landed":  # still: nobody was faster
                    self.take(load, held)
        except LeaseHeldError as error:
            self.busy.append(str(error))

    def take(self, load: Load, held: Lease) -> None:
        """Accept the load, but for the sources that are set aside, or reject it."""
        started = perf_counter()
        verdict = self._judge(load, held)
        if verdict.is_rejected:
            self._reject(load, held, verdict, started)
            return
        for note in verdict.failures:
            if note.rule.level == "note":
                log.warning("load %d (%s): %s", load.load_id, load.origin, note)
        for said in _asides(verdict):
            log.warning("load %d (%s): %s", load.load_id, load.origin, said)
        try:
            self._accept(load, held, verdict, started)
        except BalanceError as error:
            self.unbalanced.append(str(error))
            record(self.conn, "audit_load", False, run_id=self.run_id, error=str(error), detail=_about(load))

    def accept_by_hand(self, load: Load, held: Lease) -> None:
        """Accept the load whatever its batch, or that of a source, is like."""
        started = perf_counter()
        verdict = replace(self._judge(load, held), set_aside={})
        if verdict.unreadable:
            raise LedgerError(f"load {load.load_id} ({load.origin}) cannot be brought in: {verdict.unreadable}")
        self._accept(load, held, verdict, started)

    def _judge(self, load: Load, held: Lease) -> Verdict:
        held.renew()
        with held.kept():
            self.limits = self.limits or limits(self.conn, self.settings, self.now)
            facts = LoadFacts(load.load_id, load.origin, load.is_live, load.read_count, load.quarantined_count)
            return judge(self.conn, facts, self.limits)

    def _accept(self, load: Load, held: Lease, verdict: Verdict, started: float) -> None:
        docs = self._publish(load, verdict, "accepted")
        bad = [BadRow(line, reason) for line, reason in verdict.quarantine.items()]
        aside = verdict.set_aside
        with self.conn.transaction():
            accepted = accept(
                self.conn, held, load.load_id, bad, was=load.state, set_aside=aside,
                failures=verdict.as_json() if aside else None,
            )  # fmt: skip
            insert_alerts(self.conn, [_aside(load, verdict, source, docs) for source in aside])
            record(
                self.conn, "audit_load", True, run_id=self.run_id, row_count=accepted.inserted,
                seconds=perf_counter() - started,
                detail=_about(load) | {
                    "duplicates": accepted.duplicates, "quarantined": accepted.quarantined,
                    "failed": [failure.rule.name for failure in verdict.failures],
                } | ({"set_aside": dict(aside)} if aside else {}),
            )  # fmt: skip
            crash_point("before_audit_commit")
        crash_point("after_audit_commit")
        self.accepted.append(accepted)
        self.set_aside += [f"{source} of load {load.load_id}" for source in aside]

    def _reject(self, load: Load, held: Lease, verdict: Verdict, started: float) -> None:
        said = _rejection(load, verdict, self._publish(load, verdict, "rejected"))
        first = next((failure for failure in verdict.failures if failure.rejects), None)
        alert = Alert(
            rule="load_rejected", category="operations", severity="critical", discriminator=load.origin,
            message=said, value=first.value if first else None,
        )  # fmt: skip
        with self.conn.transaction():
            reject(self.conn, held, load.load_id, verdict.as_json())
            insert_alerts(self.conn, [alert])
            record(
                self.conn, "audit_load", False, run_id=self.run_id, row_count=load.read_count,
                seconds=perf_counter() - started, error=said, detail=_about(load),
            )  # fmt: skip
            crash_point("before_audit_commit")
        crash_point("after_audit_commit")
        self.rejections.append(said)

    def _publish(self, load: Load, verdict: Verdict, state: str) -> Path:
        """The page comes before the decision, so that none is without; but the data do not wait for a full disk."""
        page = _page(load, verdict, state, self.now)
        try:
            publish(self.settings, page, verdict.checked)
        except OSError as error:
            log.warning("the data docs of load %d could not be written: %s", load.load_id, error)
        return page_file(self.settings, page)


def _page(load: Load, verdict: Verdict, state: str, at: datetime) -> Page:
    bad = load.quarantined_count + len(verdict.bad_rows)
    aside = "".join(f", {source} was set aside" for source in verdict.set_aside)
    by_hand = ", accepted by hand" if load.state == "rejected" else ""
    return Page(
        folder="loads",
        name=str(load.load_id),
        title=f"Load {load.load_id}",
        at=at,
        state=state,
        summary=f"{load.read_count} rows read, {bad} of them bad{aside}{by_hand}",
        origin=load.origin,
        reasons=[
            *_asides(verdict),
            *verdict.reasons,
            *(str(one) for one in verdict.failures if one.rule.level == "note"),
        ],
    )


def _asides(verdict: Verdict) -> list[str]:
    return [f"{source} was set aside: {broken}" for source, broken in verdict.set_aside.items()]


def _aside(load: Load, verdict: Verdict, source: str, docs: Path) -> Alert:
    message = "\n".join(
        [
            f"{source} was set aside in load {load.load_id}: its {len(verdict.lines.get(source, ()))} rows from "
            f"{load.origin} are in quarantine, the other sources came in:",
            f"  {verdict.set_aside[source]}",
            f"Data docs: {docs} (in the Airflow UI: Browse, Data docs). "
            f"`quantstream loads show {load.load_id}` shows it.",
        ]
    )
    return Alert(
        rule="source_set_aside", category="operations", severity="critical", discriminator=f"{load.origin} {source}",
        message=message,
    )  # fmt: skip


def _rejection(load: Load, verdict: Verdict, docs: Path) -> str:
    return "\n".join(
        [
            f"load {load.load_id} was rejected, its {load.read_count} rows from {load.origin} stay out:",
            *(f"  {reason}" for reason in verdict.reasons),
            f"Data docs: {docs} (in the Airflow UI: Browse, Data docs). "
            f"`quantstream loads show {load.load_id}` shows it, `quantstream loads accept {load.load_id}` brings it in "
            "(its bad rows still go to quarantine).",
        ]
    )


def _about(load: Load) -> dict[str, object]:
    return {"load_id": load.load_id, "origin": load.origin, "read": load.read_count}
