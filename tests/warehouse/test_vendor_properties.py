"""Whatever is called, fails and is answered, in whatever order and at whatever times: what a vendor can rely on."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar

import psycopg
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as of_hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from include.errors import BudgetSpentError, CircuitOpenError
from include.settings import Settings
from include.sources.gate import Limits
from include.warehouse.db import connect
from include.warehouse.vendors import Breaker, VendorGate
from tests.warehouse.vendor_time import pass_time

pytestmark = pytest.mark.stack

PER_MINUTE, PER_DAY = 6, 15
PAST_PER_MINUTE, PAST_PER_DAY = 3, 8  # the halves that history may use
BREAKER = Breaker(failures=3, cool_down=40, longest=100)
SLACK = 2.0  # seconds that the test itself may take; a second's calls leave the window together


class Vendor(RuleBasedStateMachine):
    """Three live pulls and a backfill call one vendor. `self.now` is the time that has passed on purpose."""

    settings: ClassVar[Settings]
    conn: ClassVar[psycopg.Connection]

    def __init__(self) -> None:
        super().__init__()
        self.conn.execute("truncate ops.vendors, ops.vendor_calls, ops.outcomes")
        self.now = 0.0
        self.calls: list[tuple[float, int, bool]] = []  # when, weight, history
        self.failures = 0
        self.gates = [self.gate("live"), self.gate("live"), self.gate("live"), self.gate("history")]

    def gate(self, priority: Any) -> VendorGate:
        limits = Limits(PER_MINUTE, PER_DAY)
        return VendorGate(self.settings, "v", limits, priority=priority, patience=0, breaker=BREAKER)

    def teardown(self) -> None:
        for gate in self.gates:
            gate.__exit__(None, None, None)

    def used(self, seconds: float, *, history: bool = False) -> int:
        """What was called within the last so many seconds."""
        return sum(weight for at, weight, past in self.calls if at > self.now - seconds and (past or not history))

    def circuit(self) -> str:
        row = self.conn.execute(
            "select case when opened_at is null then 'closed' when open_until > clock_timestamp() then 'open' "
            "when probe_until > clock_timestamp() then 'probing' else 'half-open' end from ops.vendors"
        ).fetchone()
        return str(row[0]) if row else "closed"

    @rule(seconds=st.sampled_from([1, 5, 20, 45, 70, 130, 3600, 90_000]))
    def time_passes(self, seconds: int) -> None:
        pass_time(self.conn, seconds)
        self.now += seconds

    @rule(who=st.integers(0, 3), weight=st.integers(1, 3))
    def call(self, who: int, weight: int) -> None:
        before, is_past = self.circuit(), who == 3
        try:
            self.gates[who].admit(weight)
        except CircuitOpenError:
            assert before in ("open", "probing")
        except BudgetSpentError:
            minute, day = 61 + SLACK, 86_700 + SLACK
            spent = self.used(minute) + weight > PER_MINUTE or self.used(day) + weight > PER_DAY
            past = max(
                self.used(minute, history=True) + weight - PAST_PER_MINUTE,
                self.used(day, history=True) + weight - PAST_PER_DAY,
            )
            assert spent or (is_past and past > 0), "refused, although there was room"
        else:
            assert before != "open"
            self.calls.append((self.now, weight, is_past))

    @rule(who=st.integers(0, 3))
    def vendor_answers(self, who: int) -> None:
        before = self.circuit()
        self.gates[who].succeeded()
        self.gates[who].confirm()
        assert self.circuit() == before or (self.circuit() == "closed" and before in ("probing", "half-open"))

    @rule(who=st.integers(0, 3))
    def call_fails(self, who: int) -> None:
        before = self.circuit()
        self.gates[who].failed("oops")
        assert before == "closed" or self.circuit() in ("open", before)

    @precondition(lambda self: self.circuit() == "half-open")
    @rule()
    def two_at_once_want_to_probe(self) -> None:
        first, second = self.gate("live"), self.gate("live")
        with first, second:
            try:
                first.admit()
            except BudgetSpentError:
                return
            self.calls.append((self.now, 1, False))
            with pytest.raises(CircuitOpenError):
                second.admit()

    @invariant()
    def no_budget_is_ever_overdrawn(self) -> None:
        assert self.used(60) <= PER_MINUTE
        assert self.used(86_400) <= PER_DAY
        assert self.used(60, history=True) <= PAST_PER_MINUTE
        assert self.used(86_400, history=True) <= PAST_PER_DAY

    @invariant()
    def openings_and_closings_take_turns(self) -> None:
        told = [row[0] for row in self.conn.execute("select ok from ops.outcomes order by outcome_id").fetchall()]
        assert told[:1] in ([], [False])
        assert all(first != second for first, second in pairwise(told))
        assert (self.circuit() == "closed") == (not told or told[-1])


def test_budgets_and_circuits_hold_in_any_order_of_events(settings: Settings) -> None:
    with connect(settings) as conn:
        Vendor.settings, Vendor.conn = settings, conn
        run_state_machine_as_test(
            Vendor,
            settings=of_hypothesis(
                max_examples=40, stateful_step_count=40, deadline=None, derandomize=True,
                suppress_health_check=list(HealthCheck),
            ),
        )  # fmt: skip
