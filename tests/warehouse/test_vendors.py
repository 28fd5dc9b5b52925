"""One budget per vendor, whoever calls; its breaks and its circuit hold for everybody and after a restart."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from statistics import median
from time import perf_counter
from typing import Any

import psycopg
import pytest

from include.errors import BudgetSpentError, CircuitOpenError
from include.settings import ROOT, Settings
from include.sources.gate import Gate, Limits
from include.warehouse import vendors
from include.warehouse.db import connect
from include.warehouse.vendors import Breaker, VendorGate, vendor_states
from tests.conftest import Servers, make_warehouse, warehouse_settings
from tests.warehouse.vendor_time import pass_time

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def warehouse(servers: Servers, template_warehouse: str) -> Settings:
    make_warehouse(servers, "test_vendors", template=template_warehouse)
    return warehouse_settings(servers, "test_vendors")


@pytest.fixture
def settings(warehouse: Settings) -> Settings:
    """One warehouse for all tests here; no vendor was ever called."""
    with connect(warehouse) as conn:
        conn.execute("truncate ops.vendors, ops.vendor_calls, ops.outcomes")
    return warehouse


@pytest.fixture
def conn(settings: Settings) -> Iterator[psycopg.Connection]:
    with connect(settings) as conn:
        yield conn


@pytest.fixture
def gate(settings: Settings) -> Iterator[Callable[..., VendorGate]]:
    """A gate before Kraken as another process would have it: `gate(5)` allows 5 calls per minute; nobody waits."""
    made: list[VendorGate] = []

    def new(per_minute: int | None = None, per_day: int | None = None, **more: Any) -> VendorGate:
        made.append(VendorGate(settings, "kraken", Limits(per_minute, per_day), **({"patience": 0} | more)))
        return made[-1]

    yield new
    for one in made:
        one.__exit__(None, None, None)


def admitted(gate: Gate, times: int, weight: int = 1) -> int:
    """How many of so many calls it lets through."""
    count = 0
    for _ in range(times):
        try:
            gate.admit(weight)
        except BudgetSpentError:
            continue
        count += 1
    return count


def rows(conn: psycopg.Connection) -> list[tuple[Any, ...]]:
    return conn.execute("select step, source, ok, error, detail->>'circuit' from ops.outcomes order by 1").fetchall()


# Budgets


def test_a_budget_is_spent_once_whoever_spends_it(gate: Callable[..., VendorGate]) -> None:
    assert admitted(gate(5), 3) == 3
    after_a_restart = gate(5)
    assert admitted(after_a_restart, 4) == 2
    with pytest.raises(
        BudgetSpentError, match=r"^kraken: 5 of the 5 calls per minute are used; there is room again at"
    ):
        after_a_restart.admit()


def test_the_error_says_which_budget_how_much_of_it_and_until_when(
    gate: Callable[..., VendorGate], conn: psycopg.Connection
) -> None:
    one = gate(2)
    admitted(one, 2)
    with pytest.raises(BudgetSpentError) as refused:
        one.admit()
    until = datetime.fromisoformat(str(refused.value.detail.pop("until")))
    assert refused.value.detail == {"budget": "minute", "used": 2, "limit": 2}
    assert timedelta(seconds=58) < until - datetime.now(UTC) < timedelta(seconds=62)


def test_room_comes_back_as_the_calls_leave_the_window(
    gate: Callable[..., VendorGate], conn: psycopg.Connection
) -> None:
    one = gate(5)
    assert admitted(one, 3) == 3
    pass_time(conn, 30)
    assert admitted(one, 5) == 2
    pass_time(conn, 32)
    assert admitted(one, 5) == 3, "the first three are a minute old"


def test_a_day_is_the_last_24_hours(gate: Callable[..., VendorGate], conn: psycopg.Connection) -> None:
    one = gate(10, 12)
    assert admitted(one, 20) == 10
    pass_time(conn, 3600)
    assert admitted(one, 20) == 2
    with pytest.raises(BudgetSpentError, match="12 of the 12 calls per day are used"):
        one.admit()
    pass_time(conn, 23 * 3600 + 301)
    assert admitted(one, 20) == 10


def test_weights_are_counted_and_one_that_never_fits_in_is_named(gate: Callable[..., VendorGate]) -> None:
    one = gate(10)
    assert admitted(one, 3, weight=4) == 2
    assert admitted(one, 1, weight=2) == 1
    with pytest.raises(BudgetSpentError, match=r"and this one weighs 11; this call never fits in \(QUANTSTREAM_VENDOR"):
        gate(10).admit(11)


def test_another_vendor_has_its_own(gate: Callable[..., VendorGate], settings: Settings) -> None:
    assert admitted(gate(5), 9) == 5
    with VendorGate(settings, "coinbase", Limits(5), patience=0) as other:
        assert admitted(other, 9) == 5


def test_without_a_limit_calls_are_counted_all_the_same(
    gate: Callable[..., VendorGate], conn: psycopg.Connection
) -> None:
    assert admitted(gate(), 30) == 30
    (state,) = vendor_states(conn)
    assert (state.minute_used, state.minute_limit, state.day_used, state.day_limit) == (30, None, 30, None)


HAMMER = """
import sys, threading
from include.errors import BudgetSpentError
from include.settings import Settings
from include.sources.gate import Limits
from include.warehouse.vendors import VendorGate

count = 0
def hammer():
    global count
    settings = Settings(_env_file=None, warehouse_dsn=sys.argv[1])
    with VendorGate(settings, "kraken", Limits(60, 1000), patience=0) as gate:
        for _ in range(40):
            try:
                gate.admit()
            except BudgetSpentError:
                continue
            count += 1

threads = [threading.Thread(target=hammer) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
sys.stdout.write(str(count))
"""


def test_processes_and_threads_that_hammer_get_the_budget_and_not_one_call_more(settings: Settings) -> None:
    dsn = settings.warehouse_dsn.get_secret_value()  # type: ignore[union-attr]
    processes = [
        subprocess.Popen([sys.executable, "-c", HAMMER, dsn], cwd=ROOT, stdout=subprocess.PIPE) for _ in range(3)
    ]
    counts = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert sum(counts) == 60


def test_a_gate_is_shared_by_the_threads_of_a_pull(gate: Callable[..., VendorGate]) -> None:
    one = gate(30)
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: admitted(one, 10), range(8))) == 30


# Live calls and history


def test_history_leaves_half_of_the_budget_to_live_calls(gate: Callable[..., VendorGate]) -> None:
    past, live = gate(10, priority="history"), gate(10)
    assert admitted(past, 20) == 5
    with pytest.raises(
        BudgetSpentError, match="5 of the 10 calls per minute are used, 5 of the 5 that history may use"
    ):
        past.admit()
    assert admitted(live, 20) == 5


def test_live_calls_may_use_all_of_it_and_history_then_waits(gate: Callable[..., VendorGate]) -> None:
    past, live = gate(10, priority="history"), gate(10)
    assert admitted(live, 20) == 10
    assert admitted(past, 5) == 0


def test_of_a_budget_of_one_history_has_one(gate: Callable[..., VendorGate]) -> None:
    assert admitted(gate(1, priority="history"), 3) == 1


def test_the_share_of_live_calls_can_be_set(gate: Callable[..., VendorGate]) -> None:
    assert admitted(gate(10, priority="history", live_share=0.8), 20) == 2


# Waiting


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch, conn: psycopg.Connection) -> list[float]:
    """Waits, noted; the time passes at once."""
    noted: list[float] = []

    def sleep(seconds: float) -> None:
        noted.append(seconds)
        pass_time(conn, seconds)

    monkeypatch.setattr(vendors, "sleep", sleep)
    return noted


def test_a_short_wait_is_waited(gate: Callable[..., VendorGate], conn: psycopg.Connection, waits: list[float]) -> None:
    admitted(gate(5), 5)
    pass_time(conn, 50)
    gate(5, patience=15).admit()
    assert len(waits) == 1
    assert 8 < waits[0] < 12


def test_a_long_one_is_not_nor_one_beyond_the_time_of_the_pull(
    gate: Callable[..., VendorGate], conn: psycopg.Connection, waits: list[float]
) -> None:
    admitted(gate(5), 5)
    assert admitted(gate(5, patience=15), 1) == 0
    pass_time(conn, 50)
    assert admitted(gate(5, patience=15, seconds=5), 1) == 0
    assert waits == []


def test_the_time_of_a_pull_runs_out(gate: Callable[..., VendorGate]) -> None:
    assert 29 < gate(seconds=30).remaining() <= 30
    assert gate(seconds=0).remaining() == 0
    assert gate().remaining() == float("inf")


# Breaks


def test_a_break_that_a_vendor_asks_for_holds_for_everybody(
    gate: Callable[..., VendorGate], conn: psycopg.Connection
) -> None:
    gate().pause(17, "answered 429")
    other = gate()
    with pytest.raises(BudgetSpentError, match=r"kraken asked for a break until .*Z \(answered 429\)") as refused:
        other.admit()
    assert refused.value.detail["budget"] == "break"
    pass_time(conn, 18)
    assert admitted(other, 1) == 1


def test_a_shorter_break_does_not_end_a_longer_one(gate: Callable[..., VendorGate], conn: psycopg.Connection) -> None:
    one = gate()
    one.pause(3600, "answered 418")
    one.pause(5, "answered 429")
    pass_time(conn, 60)
    with pytest.raises(BudgetSpentError, match="answered 418"):
        one.admit()


def test_breaks_without_a_length_double_until_the_vendor_answers(
    gate: Callable[..., VendorGate], conn: psycopg.Connection, waits: list[float]
) -> None:
    one = gate(patience=600)
    for _ in range(9):
        one.pause(0, "answered 429")
        one.admit()
    assert [round(wait) for wait in waits] == [2, 4, 8, 16, 32, 64, 128, 256, 300]
    one.succeeded()
    one.confirm()
    one.pause(0, "answered 429")
    one.admit()
    assert round(waits[-1]) == 2


def test_an_absurd_break_is_a_week_at_the_most(gate: Callable[..., VendorGate], conn: psycopg.Connection) -> None:
    gate().pause(1e300, "answered 429")
    (state,) = vendor_states(conn)
    assert state.break_until is not None
    assert timedelta(days=6) < state.break_until - datetime.now(UTC) < timedelta(days=8)


# The circuit


def opened(gate: VendorGate, times: int = 5) -> VendorGate:
    for number in range(1, times + 1):
        gate.admit()
        gate.failed(f"answered 503, the {number}. time")
    return gate


def test_it_opens_after_failures_in_a_row_and_says_so_once(
    gate: Callable[..., VendorGate], conn: psycopg.Connection
) -> None:
    one, other = gate(), gate()
    opened(one, 4)
    other.admit()
    other.failed("answered 503, the 5. time")
    other.failed("one that was under way")
    with pytest.raises(
        CircuitOpenError, match=r"^kraken is left alone since .*Z, until .*Z.*: answered 503, the 5\."
    ) as no:
        one.admit()
    assert set(no.value.detail) == {"circuit", "since", "until"}
    ((step, source, ok, error, circuit),) = rows(conn)
    assert (step, source, ok, circuit) == ("vendor", "kraken", False, "open")
    assert error.startswith("kraken failed 5 times in a row, left alone until ")


def test_an_answer_in_between_begins_the_count_anew(gate: Callable[..., VendorGate], conn: psycopg.Connection) -> None:
    one = gate()
    opened(one, 4)
    one.admit()
    one.succeeded()
    one.confirm()
    opened(one, 4)
    one.admit()
    assert rows(conn) == []


def test_an_answer_that_turns_out_to_be_none_is_a_failure(
    gate: Callable[..., VendorGate], conn: psycopg.Connection
) -> None:
    for _ in range(5):
        with gate() as pull:
            for _ in range(3):
                pull.admit()
                pull.succeeded()
            pull.failed("the answer is no list of coins")
    assert [row[4] for row in rows(conn)] == ["open"]


def test_when_its_time_is_over_exactly_one_may_probe(gate: Callable[..., VendorGate], conn: psycopg.Connection) -> None:
    opened(gate())
    pass_time(conn, 61)
    assert [state.circuit for state in vendor_states(conn)] == ["half-open"]
    start, gates = threading.Barrier(8), [gate() for _ in range(8)]

    def attempt(one: VendorGate) -> str:
        start.wait()
        try:
            one.admit()
        except CircuitOpenError as error:
            return str(error.detail["circuit"])
        return "probe"

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(attempt, gates)) == ["half-open"] * 7 + ["probe"]


def test_a_probe_that_is_answered_closes_it_and_says_so_once(
    gate: Callable[..., VendorGate], conn: psycopg.Connection
) -> None:
    opened(gate())
    pass_time(conn, 61)
    with gate() as probe:
        probe.admit()
        probe.admit()  # it may try again, as after a timeout
        probe.succeeded()
    assert [(row[2], row[4]) for row in rows(conn)] == [(False, "open"), (True, "closed")]
    assert admitted(gate(), 3) == 3
    assert [state.circuit for state in vendor_states(conn)] == ["closed"]


def test_a_probe_that_fails_doubles_the_time_up_to_a_limit(
    gate: Callable[..., VendorGate], conn: psycopg.Connection
) -> None:
    breaker = Breaker(failures=2, cool_down=60, longest=200)
    opened(gate(breaker=breaker), 2)
    lengths = []
    for _ in range(4):
        (state,) = vendor_states(conn)
        assert state.until is not None
        lengths.append(round((state.until - datetime.now(UTC)).total_seconds()))
        pass_time(conn, lengths[-1] + 1)
        opened(gate(breaker=breaker), 1)
    assert lengths == [60, 120, 200, 200]
    assert [row[4] for row in rows(conn)] == ["open"]


def test_a_prober_that_died_is_replaced(gate: Callable[..., VendorGate], conn: psycopg.Connection) -> None:
    opened(gate())
    pass_time(conn, 61)
    dead, other = gate(), gate()
    dead.admit()
    with pytest.raises(CircuitOpenError, match="another process tries it right now"):
        other.admit()
    pass_time(conn, vendors.PROBE_SECONDS + 1)
    other.admit()
    dead.succeeded()
    dead.__exit__(None, None, None)
    assert [state.circuit for state in vendor_states(conn)] == ["half-open"], "the dead one has no say any more"


def test_an_answer_to_a_call_from_before_does_not_close_it(
    gate: Callable[..., VendorGate], conn: psycopg.Connection
) -> None:
    with gate() as slow:
        opened(gate(), 1)
        slow.admit()
        opened(gate(), 4)
        slow.succeeded()
    assert [state.circuit for state in vendor_states(conn)] == ["open"]


def test_a_spent_budget_is_no_probe(gate: Callable[..., VendorGate], conn: psycopg.Connection) -> None:
    opened(gate(5))
    pass_time(conn, 40)
    conn.execute("update ops.vendors set open_until = clock_timestamp()")
    assert admitted(gate(5), 1) == 0
    pass_time(conn, 25)
    assert admitted(gate(5), 1) == 1


def test_keys_in_a_reason_are_not_written_down(gate: Callable[..., VendorGate], conn: psycopg.Connection) -> None:
    one = gate(breaker=Breaker(failures=1))
    one.failed("GET https://api.example/?apikey=s3cret-s3cret failed")
    one.pause(60, "token=s3cret-s3cret")
    assert "apikey=***" in rows(conn)[0][3]
    assert "s3cret" not in str(conn.execute("select * from ops.vendors").fetchall()) + str(rows(conn))


# What it costs, and what it leaves behind


def test_a_call_costs_one_round_trip_of_a_fraction_of_a_millisecond(
    gate: Callable[..., VendorGate], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, trips, times = gate(100_000, 1_000_000), [0], []
    run = one._run
    monkeypatch.setattr(one, "_run", lambda work: (trips.append(1), run(work))[1])
    for _ in range(300):
        start = perf_counter()
        one.admit()
        one.succeeded()
        one.confirm()
        times.append(perf_counter() - start)
    assert sum(trips) == 300
    assert median(times) < 0.01, f"{median(times) * 1000:.2f} ms"


def test_old_counts_go_away_by_themselves(gate: Callable[..., VendorGate], conn: psycopg.Connection) -> None:
    one = gate(100, 100_000)
    for _ in range(400):
        one.admit()
        pass_time(conn, 601)
    kept = conn.execute("select span = '1 second', count(*) from ops.vendor_calls group by 1 order by 1").fetchall()
    assert dict(kept)[True] == 1
    assert 143 <= dict(kept)[False] <= 145, "one in ten minutes, for a day"


def test_a_connection_that_broke_is_made_again(gate: Callable[..., VendorGate], conn: psycopg.Connection) -> None:
    one = gate(5)
    admitted(one, 2)
    conn.execute(  # ours: an autovacuum worker may be there as well
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where pid <> pg_backend_pid() and datname = current_database() and usename = current_user"
    )
    assert admitted(one, 5) == 3


def test_how_the_vendors_stand(gate: Callable[..., VendorGate], settings: Settings, conn: psycopg.Connection) -> None:
    opened(gate(60, 2000))
    with VendorGate(settings, "binance", Limits(6000)) as binance:
        binance.admit(40)
        binance.pause(120, "answered 429")
    first, second = vendor_states(conn)
    assert (first.vendor, first.circuit, first.minute_used, first.minute_limit) == ("binance", "closed", 40, 6000)
    assert (first.day_used, first.day_limit, first.since, first.break_reason) == (40, None, None, "answered 429")
    assert (second.vendor, second.circuit, second.day_used, second.day_limit) == ("kraken", "open", 5, 2000)
    assert second.reason == "answered 503, the 5. time"
    assert second.since is not None
    assert second.until is not None
    assert round((second.until - second.since).total_seconds()) == 60
