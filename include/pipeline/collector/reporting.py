"""What a collector says of itself in the warehouse: outcomes, quarantine, alerts; and that it is the only one.

The warehouse may go away and come back: collecting goes on meanwhile, and what was to be said is said later.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

import psycopg

from include.alerts import Alert
from include.errors import NotRunningError
from include.events import Window, iso
from include.settings import Settings
from include.sources.base import Rejected
from include.warehouse.alerts import insert_alerts
from include.warehouse.db import connect
from include.warehouse.leases import Lease, lease
from include.warehouse.outcomes import record
from include.warehouse.quarantine import quarantine

log = logging.getLogger(__name__)

STEP: Final = "collect"
_MOST_KEPT: Final = 2_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Said:
    """One outcome to be written: a minute of collecting, or something that went wrong in it."""

    ok: bool
    window: Window | None = None
    rows: int | None = None
    error: str | None = None
    detail: dict[str, Any] | None = None
    alert: Alert | None = None


class Reporter:
    """Writes to the warehouse, or keeps what is to be written until it answers: `_MOST_KEPT` of each sort at the most.

    `write` may be called from several threads; the second one waits for the first and writes what that has not.
    """

    def __init__(self, settings: Settings, exchange: str, run_id: str, started: datetime) -> None:
        self.settings, self.exchange, self.run_id = settings, exchange, run_id
        self.origin = f"feed {exchange} {iso(started)}"
        self._guard, self._one_at_a_time = threading.Lock(), threading.Lock()
        self._unsaid: list[Said] = []
        self._rejected: list[Rejected] = []

    def say(self, said: Said) -> None:
        """Keep an outcome for the next `write`."""
        with self._guard:
            self._unsaid = _bounded([*self._unsaid, said])

    def reject(self, rejected: Sequence[Rejected]) -> None:
        """Keep what is to be quarantined for the next `write`."""
        with self._guard:
            self._rejected = _bounded([*self._rejected, *rejected])

    @property
    def has_news(self) -> bool:
        return bool(self._unsaid or self._rejected)

    def write(self) -> bool:
        """Write all that was kept; False if the warehouse does not take it now: then it is kept."""
        with self._one_at_a_time:
            with self._guard:
                unsaid, self._unsaid = self._unsaid, []
                rejected, self._rejected = self._rejected, []
            if not unsaid and not rejected:
                return True
            try:
                self._write(unsaid, rejected)
            except (NotRunningError, psycopg.Error) as error:
                log.warning("the warehouse takes no reports: %s", str(error).splitlines()[0])
                with self._guard:
                    self._unsaid = _bounded([*unsaid, *self._unsaid])
                    self._rejected = _bounded([*rejected, *self._rejected])
                return False
            return True

    def _write(self, unsaid: Sequence[Said], rejected: Sequence[Rejected]) -> None:
        with connect(self.settings) as conn, conn.transaction():
            quarantine(conn, self.origin, self.exchange, rejected)
            for said in unsaid:
                record(
                    conn, STEP, said.ok, source=self.exchange, window=said.window, row_count=said.rows,
                    seconds=(said.window.end - said.window.start).total_seconds() if said.window else None,
                    run_id=self.run_id, error=said.error, detail=said.detail,
                )  # fmt: skip
                if said.alert is not None:
                    insert_alerts(conn, [said.alert])


def _bounded(kept: list[T]) -> list[T]:
    """The newest of them, if they are too many."""
    if len(kept) > _MOST_KEPT:
        log.error("%d reports are forgotten, the warehouse was away for too long", len(kept) - _MOST_KEPT)
    return kept[-_MOST_KEPT:]


class Tenure:
    """The lease `collect <exchange>`: one collector of an exchange at a time, as far as the warehouse can tell.

    Two at once would do no harm (equal events are dropped), only work twice; so a warehouse that is away stops nobody.
    """

    def __init__(self, settings: Settings, exchange: str) -> None:
        self.settings, self.name = settings, f"{STEP} {exchange}"
        self._stack = ExitStack()
        self._lease: Lease | None = None

    def take(self) -> None:
        """Raises LeaseHeldError if another collector has it, NotRunningError if the warehouse does not answer."""
        with ExitStack() as stack:
            conn = stack.enter_context(connect(self.settings))
            self._lease = stack.enter_context(lease(conn, self.name, seconds=self.settings.lease_seconds))
            self._stack = stack.pop_all()

    def keep(self) -> None:
        """Renew it, or take it anew after the warehouse was away.

        Raises FencedError or LeaseHeldError if another collector has it now.
        """
        try:
            if self._lease is not None:
                self._lease.renew()
            else:
                self.take()
        except (NotRunningError, psycopg.Error) as error:
            log.warning("the lease %s cannot be kept now: %s", self.name, str(error).splitlines()[0])
            self._lease = None
            self.release()

    def release(self) -> None:
        """Give it back."""
        with suppress(psycopg.Error):
            self._stack.close()
        self._lease = None
