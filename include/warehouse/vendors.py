"""Vendors' budgets, breaks and circuits, kept in the warehouse: they hold for every process and after a restart.

Whether a call may be made is one function of the database (`ops.admit_call` in migrations/versions/r0002_vendors.sql):
one round trip, one lock on the vendor's row, the database's clock.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil, inf
from time import monotonic, sleep
from types import TracebackType
from typing import Final, Literal, Protocol, Self, TypeVar

import psycopg
from psycopg.rows import class_row

from include.errors import BudgetSpentError, CircuitOpenError
from include.settings import Settings
from include.warehouse.db import connect
from include.warehouse.outcomes import record, without_secrets

log = logging.getLogger(__name__)

STEP: Final = "vendor"
LIVE_SHARE: Final = 0.5  # of a budget, that history leaves to live calls
PROBE_SECONDS: Final = 120.0  # a prober that is silent for longer is taken for dead
_FIRST_BREAK: Final = 2.0
_LONGEST_BREAK: Final = 300.0  # of those we choose; the vendor may ask for longer ones
_LONGEST_ASKED: Final = 7 * 86_400.0

Circuit = Literal["closed", "open", "half-open"]
Priority = Literal["live", "history"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class VendorState:
    """How a vendor stands. Times are UTC.

    `since`, `until` and `reason` are the open circuit's: `half-open` is one whose time is over and whose next call is
    the probe. `minute_used` and `day_used` are the calls (or the vendor's weights) of the last minute and the last 24
    hours; a limit is None where there is none. `break_until`: the vendor asked for a break until then.
    """

    vendor: str
    circuit: Circuit
    since: datetime | None
    until: datetime | None
    reason: str | None
    minute_used: int
    minute_limit: int | None
    day_used: int
    day_limit: int | None
    break_until: datetime | None = None
    break_reason: str | None = None


_STATES: Final = """
select
    v.vendor,
    case when v.opened_at is null then 'closed' when v.open_until > n.at then 'open' else 'half-open' end as circuit,
    v.opened_at as since,
    v.open_until as until,
    v.open_reason as reason,
    (m.r).used::bigint as minute_used,
    v.minute_limit,
    (d.r).used::bigint as day_used,
    v.day_limit,
    case when v.break_until > n.at then v.break_until end as break_until,
    case when v.break_until > n.at then v.break_reason end as break_reason
from (select clock_timestamp() as at) as n
cross join ops.vendors as v
cross join lateral (select ops.vendor_room(v.vendor, '1 second', '1 minute', 0, null, null, n.at) as r) as m
cross join lateral (select ops.vendor_room(v.vendor, '5 minutes', '24 hours', 0, null, null, n.at) as r) as d
order by v.vendor
"""


def vendor_states(conn: psycopg.Connection) -> list[VendorState]:
    """How each vendor stands that was ever called, by name."""
    with conn.cursor(row_factory=class_row(VendorState)) as cursor:
        return cursor.execute(_STATES).fetchall()


def left_alone_until(conn: psycopg.Connection, vendor: str) -> datetime | None:
    """Until when nobody calls the vendor: a break that it asked for, or its open circuit. None: it may be called."""
    row = conn.execute(
        "select greatest(break_until, coalesce(open_until, '-infinity')) from ops.vendors "
        "where vendor = %s and greatest(break_until, coalesce(open_until, '-infinity')) > clock_timestamp()",
        [vendor],
    ).fetchone()
    return row[0] if row else None


class Budget(Protocol):
    """Calls (or the vendor's weights) that are allowed; None: any number. `include.sources.gate.Limits` is one."""

    @property
    def per_minute(self) -> int | None: ...
    @property
    def per_day(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Breaker:
    """When a circuit opens, and for how long: `cool_down` seconds first, twice as long after each failed probe."""

    failures: int = 5
    cool_down: float = 60.0
    longest: float = 600.0


def past_limits(limits: tuple[int | None, int | None], live_share: float = LIVE_SHARE) -> tuple[int | None, int | None]:
    """What history may use of the limits per minute and per day, when it leaves that share to the live calls."""
    of_minute, of_day = (None if limit is None else ceil(limit * (1 - live_share)) for limit in limits)
    return of_minute, of_day


class VendorGate:
    """The gate before one vendor (`include.sources.gate.Gate`), for one pull. Use it as a context manager.

    A call that finds no room waits for it, for `patience` seconds at the most and not beyond the pull's own time
    (`seconds` from now on; None: as long as it takes). Calls of the priority `history` leave `live_share` of each
    budget to the live ones. The methods may be called from several threads. Each raises NotRunningError or
    psycopg.Error if the warehouse is gone: what cannot be counted is not called.
    """

    def __init__(
        self,
        settings: Settings,
        vendor: str,
        budget: Budget,
        *,
        priority: Priority = "live",
        patience: float = 15.0,
        seconds: float | None = None,
        live_share: float = LIVE_SHARE,
        breaker: Breaker = Breaker(),
    ) -> None:
        self.settings, self.vendor, self.patience, self.breaker = settings, vendor, patience, breaker
        self._ends = inf if seconds is None else monotonic() + seconds
        self._limits = (budget.per_minute, budget.per_day)
        self._is_past = priority == "history"
        self._past_limits = past_limits(self._limits, live_share) if self._is_past else (None, None)
        self._caller = uuid.uuid4()  # who holds the probe
        self._lock = threading.Lock()
        self._conn: psycopg.Connection | None = None
        self._is_troubled = self._was_answered = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self.confirm()
        finally:
            if self._conn is not None:
                self._conn.close()

    def remaining(self) -> float:
        """Seconds that are left for this pull; inf where it may take any time."""
        return max(0.0, self._ends - monotonic())

    def admit(self, weight: int = 1) -> None:
        """Count a call of this weight against the budget; wait where a short wait makes room for it.

        Raises BudgetSpentError (which budget, how much of it is used, when there is room again; also for a break that
        the vendor asked for) or CircuitOpenError (since when, why, until when); no call is to be made then.
        """
        end = monotonic() + min(self.patience, self.remaining())
        while True:
            said = self._run(lambda conn: self._ask(conn, weight))
            if said.verdict == "go":
                self._is_troubled = bool(said.is_troubled)
                return
            if said.verdict in ("open", "probe"):
                raise self._circuit_error(said)
            if said.wait is None or monotonic() + said.wait > end:
                raise self._budget_error(said, weight)
            log.info("%s: waits %.1f s for %s", self.vendor, said.wait, _BUDGETS[said.verdict])
            sleep(said.wait)

    def pause(self, seconds: float, reason: str) -> None:
        """The vendor asked for a break: nobody calls it before `seconds` from now have passed.

        0: it named no length. Then the break is 2 s, and each further one twice as long, until it answers again.
        """
        args = [self.vendor, min(seconds, _LONGEST_ASKED), _short(reason), _FIRST_BREAK, _LONGEST_BREAK]
        self._run(lambda conn: conn.execute("select ops.vendor_paused(%s, %s, %s, %s, %s)", args))
        self._is_troubled = True

    def succeeded(self) -> None:
        """The vendor answered. It counts once that proved to be what the vendor promises (`confirm`, or the pull ends);
        until then it may still turn out to be a failure (`failed`)."""
        self._was_answered = True

    def confirm(self) -> None:
        """The last answer was good: failures are counted anew, and the circuit that this call probed is closed."""
        if self._was_answered and self._is_troubled:
            self._run(self._answer)
            self._is_troubled = False
        self._was_answered = False

    def failed(self, reason: str) -> None:
        """The call failed for good. Enough of these in a row open the circuit; that is a row in `ops.outcomes`."""
        self._was_answered = False
        self._run(lambda conn: self._fail(conn, _short(reason)))

    def _run(self, work: Callable[[psycopg.Connection], T]) -> T:
        """Do it on this gate's own connection; once more on a new one if that broke."""
        with self._lock:
            if self._conn is not None:
                try:
                    return work(self._conn)
                except psycopg.OperationalError:
                    if not self._conn.broken:
                        raise
            self._conn = connect(self.settings)
            return work(self._conn)

    def _ask(self, conn: psycopg.Connection, weight: int) -> _Verdict:
        args = [self.vendor, self._caller, weight, *self._limits, *self._past_limits, self._is_past, PROBE_SECONDS]
        with conn.cursor(row_factory=class_row(_Verdict)) as cursor:
            query = "select * from ops.admit_call(%s, %s, %s, %s, %s, %s, %s, %s, %s)"
            row = cursor.execute(query, args, prepare=True).fetchone()
        assert row is not None  # noqa: S101  # a function without a set gives one row
        return row

    def _fail(self, conn: psycopg.Connection, reason: str) -> None:
        rules = self.breaker
        args = [self.vendor, self._caller, reason, rules.failures, rules.cool_down, rules.longest]
        with conn.transaction():
            row = conn.execute("select * from ops.vendor_failed(%s, %s, %s, %s, %s, %s)", args).fetchone()
            opened, failures, until = row or (False, 0, None)
            if opened:
                said = f"{self.vendor} failed {failures} times in a row, left alone until {_time(until)}: {reason}"
                log.warning(said)
                detail = {"circuit": "open", "until": _time(until), "failures": failures}
                record(conn, STEP, False, source=self.vendor, error=said, detail=detail)

    def _answer(self, conn: psycopg.Connection) -> None:
        with conn.transaction():
            row = conn.execute(
                "select closed_since, extract(epoch from clock_timestamp() - closed_since)::float "
                "from ops.vendor_answered(%s, %s)",
                [self.vendor, self._caller],
            ).fetchone()
            since, seconds = row or (None, None)
            if since is not None:
                log.info("%s answers again; it was left alone since %s", self.vendor, _time(since))
                detail = {"circuit": "closed", "since": _time(since)}
                record(conn, STEP, True, source=self.vendor, seconds=seconds, detail=detail)

    def _circuit_error(self, said: _Verdict) -> CircuitOpenError:
        circuit = "open" if said.verdict == "open" else "half-open"
        then = "the first call after that tries it" if circuit == "open" else "another process tries it right now"
        return CircuitOpenError(
            f"{self.vendor} is left alone since {_time(said.since)}, until {_time(said.until)} ({then}): {said.why}",
            {"circuit": circuit, "since": _time(said.since), "until": _time(said.until)},
        )

    def _budget_error(self, said: _Verdict, weight: int) -> BudgetSpentError:
        until = None if said.wait is None else _time(said.until)
        again = f"there is room again at {until}" if until else "this call never fits in"
        if said.verdict == "break":
            text = f"{self.vendor} asked for a break until {until} ({said.why})"
            return BudgetSpentError(text, {"budget": "break", "until": until})
        index = 0 if said.verdict == "minute" else 1
        limit, past = self._limits[index], self._past_limits[index]
        text = f"{self.vendor}: {said.used} of the {limit} calls {_BUDGETS[said.verdict]} are used"
        if past is not None:
            text += f", {said.past_used} of the {past} that history may use"
        if weight != 1:
            text += f", and this one weighs {weight}"
        text += f"; {again} (QUANTSTREAM_VENDOR_BUDGETS, or the vendor's plan, sets the budget)"
        detail = {"budget": said.verdict, "used": said.used, "limit": limit, "until": until}
        return BudgetSpentError(text, detail)


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What `ops.admit_call` says. `wait`: seconds until it may say something else; None: never."""

    verdict: Literal["go", "open", "probe", "break", "minute", "day"]
    since: datetime | None
    until: datetime | None
    wait: float | None
    why: str | None
    used: int | None
    past_used: int | None
    is_troubled: bool | None


_BUDGETS: Final = {"minute": "per minute", "day": "per day", "break": "the break it asked for"}


def _short(reason: str) -> str:
    return without_secrets(reason)[:500]


def _time(value: datetime | None) -> str:
    """`2026-03-14T12:00:05Z`"""
    return "?" if value is None else value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
