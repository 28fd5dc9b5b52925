"""A vendor that fails, is spent, or is slow; a lake that does not answer; a warehouse that goes away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from include import crashpoints
from include.commands.local_exchange import LocalExchange, serving
from include.errors import BudgetSpentError, HistoryDeferredError, LakeError, QuantStreamError, SourceError
from include.pipeline.backfill import backfill
from include.pipeline.history import bringing, landing
from include.settings import Settings
from include.sources import http
from include.warehouse.db import connect
from tests.conftest import Servers
from tests.faults.proxy import Answer, Cut, Fault, FaultProxy, Hang, LoseAnswer, Reset, behind
from tests.history.vendor import (
    DAY,
    MakeSettings,
    bars,
    coverage,
    day,
    learns,
    picture,
    rows,
    trades,
    warehouse_of_its_own,
)  # fmt: skip
from tests.warehouse.vendor_time import pass_time

pytestmark = pytest.mark.stack

SYMBOLS = ["BTC-USD", "ETH-USD"]
BUSY = Answer(503, b"{}")


@pytest.fixture
def local() -> LocalExchange:
    return known()


def known() -> LocalExchange:
    return LocalExchange(
        bars={"BTCUSDT": bars(DAY, range(0, 1440, 2)), "ETHUSDT": bars(DAY, range(5))},
        trades={"BTCUSDT": trades(DAY, [number * 0.35 for number in range(9500)])},
    )


@pytest.fixture
def vendor(local: LocalExchange, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    monkeypatch.setattr(http, "sleep", lambda pause: None)
    with serving(local) as url, FaultProxy(url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def undisturbed(servers: Servers, template_marts: str) -> dict[str, list[str]]:
    """What a backfill of the day's bars leaves that nothing happened to."""
    with serving(known()) as url:
        settings = warehouse_of_its_own(servers, template_marts, binance_url=url)
        backfill(settings, "binance", day(0), symbols=SYMBOLS)
    return picture(settings)


def until_done(settings: Settings, most: int = 6) -> list[str]:
    """Backfill the day as often as it takes, as Airflow's retries do; the errors on the way."""
    errors: list[str] = []
    while True:
        try:
            backfill(settings, "binance", day(0), symbols=SYMBOLS)
        except (QuantStreamError, psycopg.Error) as error:
            errors.append(type(error).__name__)
            assert len(errors) < most, errors
            if isinstance(error, HistoryDeferredError):
                with connect(settings) as conn:
                    pass_time(conn, 86_400)
        else:
            return errors


def test_a_half_fetched_day_goes_on_where_the_budget_ended_and_asks_for_nothing_twice(
    make_history: MakeSettings, local: LocalExchange, vendor: FaultProxy
) -> None:
    settings = make_history(binance_url=vendor.url, vendor_budgets={"binance": "48/day"}, history_live_share=0.5)
    with pytest.raises(HistoryDeferredError, match=r"binance trades of 2026-03-02.* go on at .*24 of the 24") as late:
        backfill(settings, "binance", day(0), kind="trade", symbols=["BTC-USD"])
    assert timedelta(hours=23) < late.value.until - datetime.now(UTC) < timedelta(hours=25)
    assert local.calls == 6, "each weighs 4"
    assert rows(settings, "select state, read_count from ops.loads") == [("accepted", 6000)]
    ((ok, count, detail),) = rows(settings, "select ok, row_count, detail from ops.outcomes where step = 'history'")
    assert (ok, count, detail["calls"]) == (True, 6000, 6), "not a failure"
    assert datetime.fromisoformat(detail["deferred_until"]) == late.value.until
    with connect(settings) as conn:
        pass_time(conn, 86_400 + 600)
    report = backfill(settings, "binance", day(0), kind="trade", symbols=["BTC-USD"])
    assert (report.calls, report.events, report.duplicates) == (5, 3501, 1), "the last one it had, and all behind it"
    (first, second) = coverage(settings)
    assert (first[1], first[2], first[3]) == (0, second[1], 6000), "up to the last one it had"
    assert (second[2], second[3]) == (24, 3501)
    assert rows(settings, "select count(*) from raw.market_events") == [(9500,)]


def test_a_call_that_never_fits_in_is_an_error_because_waiting_does_not_help(
    make_history: MakeSettings, vendor: FaultProxy
) -> None:
    settings = make_history(binance_url=vendor.url, vendor_budgets={"binance": "2/day"})
    with pytest.raises(BudgetSpentError, match="this call never fits in"):
        backfill(settings, "binance", day(0), symbols=SYMBOLS)


def test_a_vendor_that_is_down_defers_what_is_left_once_its_circuit_is_open(
    make_history: MakeSettings, vendor: FaultProxy
) -> None:
    settings = make_history(binance_url=vendor.url)
    vendor.add(BUSY, times=None)
    for _ in range(3):
        with pytest.raises((SourceError, HistoryDeferredError)) as failed:
            backfill(settings, "binance", day(0), symbols=SYMBOLS)
    assert isinstance(failed.value, HistoryDeferredError)
    assert "binance is left alone since" in str(failed.value)
    assert datetime.now(UTC) < failed.value.until < datetime.now(UTC) + timedelta(minutes=2)


def test_a_break_that_the_vendor_asks_for_defers_what_is_left(make_history: MakeSettings, vendor: FaultProxy) -> None:
    settings = make_history(binance_url=vendor.url)
    vendor.add(Answer(429, b"{}", {"Retry-After": "600"}), after=1)
    with pytest.raises(HistoryDeferredError, match="asks for a break of 600 s") as late:
        backfill(settings, "binance", day(0), symbols=["BTC-USD"])
    assert timedelta(minutes=9) < late.value.until - datetime.now(UTC) < timedelta(minutes=11)
    with connect(settings) as conn:
        pass_time(conn, 601)
    backfill(settings, "binance", day(0), symbols=SYMBOLS)
    assert {(symbol, until) for symbol, _, until, *_ in coverage(settings)} >= {("BTC-USD", 24), ("ETH-USD", 24)}
    assert rows(settings, "select count(*) from raw.market_events") == [(725,)]


FAULTS: dict[str, Fault] = {
    "500": Answer(500, b"{}"),
    "timeout": Hang(2),
    "429": Answer(429, b"{}", {"Retry-After": "600"}),
    "cut": Cut(0.5),
    "reset": Reset(),
    "lost answer": LoseAnswer(),
    "no JSON": Answer(200, b"<html>"),
    "another form": Answer(200, b'{"rows": []}', {"Content-Type": "application/json"}),
}


@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_the_vendor_does_the_day_ends_the_same(
    fault: str, times: int, make_history: MakeSettings, vendor: FaultProxy, undisturbed: dict[str, list[str]]
) -> None:
    settings = make_history(binance_url=vendor.url, http_timeout_seconds=0.3 if fault == "timeout" else 10)
    vendor.add(FAULTS[fault], after=1, times=times)
    errors = until_done(settings)
    assert bool(errors) == (times == 4 or fault in ("429", "another form"))
    after = picture(settings) | {"quarantine": []}  # what was no answer is kept
    assert after == undisturbed | {"quarantine": []}


def test_an_instrument_that_the_vendor_fails_over_does_not_hold_up_the_others(
    make_history: MakeSettings, vendor: FaultProxy
) -> None:
    settings = make_history(binance_url=vendor.url)
    vendor.add(BUSY, path=r".*BTCUSDT.*", times=None)
    with pytest.raises(SourceError, match="Binance: answered 503"):
        backfill(settings, "binance", day(0), symbols=SYMBOLS)
    assert coverage(settings) == [("ETH-USD", 0, 24, 5, "events")]
    assert rows(settings, "select read_count, state from ops.loads") == [(5, "accepted")]


def test_an_instrument_whose_trades_cannot_be_paged_on_costs_only_itself(
    make_history: MakeSettings, vendor: FaultProxy, local: LocalExchange
) -> None:
    settings = make_history(binance_url=vendor.url)
    learns(local, trades={name: trades(DAY, range(3)) for name in ("BTCUSDT", "ETHUSDT", "SOLUSDT")})
    vendor.add(Answer(200, b'[{"a": "x"}]', {"Content-Type": "application/json"}), path=r".*BTCUSDT.*", times=None)
    with pytest.raises(SourceError, match="no further trades of BTCUSDT can be asked for: a is 'x'"):
        backfill(settings, "binance", day(0), kind="trade", symbols=[*SYMBOLS, "SOL-USD"])
    assert coverage(settings) == [("ETH-USD", 0, 24, 3, "events"), ("SOL-USD", 0, 24, 3, "events")]
    vendor.clear()
    assert backfill(settings, "binance", day(0), kind="trade", symbols=[*SYMBOLS, "SOL-USD"]).asked == 1


@pytest.mark.parametrize("times", [1, 6])  # a client tries four times
@pytest.mark.parametrize("fault", [Answer(500), Reset(), LoseAnswer(), Hang(0.2)], ids=lambda one: type(one).__name__)
def test_an_object_that_cannot_be_put_or_was_put_unheard_ends_the_same(
    fault: Fault, times: int, make_history: MakeSettings, vendor: FaultProxy, undisturbed: dict[str, list[str]]
) -> None:
    settings = make_history(binance_url=vendor.url)
    with FaultProxy(settings.aws_endpoint_url) as lake:
        lake.add(fault, method="PUT", path=r".*history-.*", times=times)
        errors = until_done(behind(settings, lake))
    assert set(errors) <= {"LakeError"}
    assert picture(settings) == undisturbed


def test_an_object_that_was_put_before_the_process_died_is_taken_over_and_not_asked_for_again(
    make_history: MakeSettings, vendor: FaultProxy, local: LocalExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_history(binance_url=vendor.url)

    def die(name: str) -> None:
        if name == "after_history_put":
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(landing, "crash_point", die)
        with pytest.raises(KeyboardInterrupt):
            backfill(settings, "binance", day(0), symbols=SYMBOLS)
    calls = local.calls
    report = backfill(settings, "binance", day(0), symbols=SYMBOLS)
    assert (local.calls, report.calls, report.objects, report.inserted) == (calls, 0, 1, 725)


def test_what_another_window_left_that_overlaps_is_finished_too(
    make_history: MakeSettings, vendor: FaultProxy, local: LocalExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_history(binance_url=vendor.url)
    with monkeypatch.context() as patched:
        patched.setattr(bringing, "load_object", lambda *_, **__: (_ for _ in ()).throw(LakeError("gone")))
        with pytest.raises(LakeError):
            backfill(settings, "binance", day(0), symbols=SYMBOLS)
    assert rows(settings, "select count(*) from ops.loads") == [(0,)], "landed and covered, but not loaded"
    hour = type(day(0))(DAY + timedelta(hours=5), DAY + timedelta(hours=6))
    assert backfill(settings, "binance", hour, symbols=SYMBOLS).asked == 0
    assert rows(settings, "select state, read_count from ops.loads") == [("accepted", 725)]


PLACES = [*crashpoints.HISTORY_NAMES, "before_load_commit", "before_audit_commit", "after_audit_commit"]


@pytest.mark.parametrize("place", PLACES)
def test_a_warehouse_that_is_restarted_at_any_step_ends_the_same(
    place: str, make_history: MakeSettings, servers: Servers, vendor: FaultProxy, monkeypatch: pytest.MonkeyPatch,
    undisturbed: dict[str, list[str]],
) -> None:  # fmt: skip
    settings, restarted = make_history(binance_url=vendor.url), _restarts(servers, place)
    for module in ("history.landing", "history.bringing", "load", "audit"):
        monkeypatch.setattr(f"include.pipeline.{module}.crash_point", restarted)
    errors = until_done(settings)
    assert errors in (["OperationalError"], ["AdminShutdown"]), errors
    assert picture(settings) == undisturbed


def _restarts(servers: Servers, place: str) -> Callable[[str], None]:
    """What a restart of Postgres does to its clients, once: every session is gone."""
    left = [place]

    def crash_point(name: str) -> None:
        if name in left:
            left.remove(name)
            with servers.admin() as conn:
                conn.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity "
                    "where usename = 'quantstream' and pid <> pg_backend_pid()"
                )

    return crash_point
