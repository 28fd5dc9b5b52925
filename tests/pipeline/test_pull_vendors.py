"""A pull and its vendor: what is asked when, within which budget, and what stays of answers that fail half-way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.errors import BudgetSpentError, CircuitOpenError, MisfitError, RefusedError, SourceError
from include.events import Window
from include.pipeline.pull import pull
from include.settings import Settings
from include.sources import http
from include.warehouse.db import connect
from include.warehouse.vendors import vendor_states
from tests.faults.proxy import Answer, FaultProxy
from tests.pipeline.sent import in_stream, outcomes, quarantined
from tests.warehouse.vendor_time import pass_time

pytestmark = pytest.mark.stack

FRIDAY = Window(datetime(2026, 3, 13, 15, 59, tzinfo=UTC), datetime(2026, 3, 13, 16, tzinfo=UTC))
SATURDAY = Window(FRIDAY.start + timedelta(days=1), FRIDAY.end + timedelta(days=1))
INSTRUMENTS = """symbol,asset_class,currency,calendar,primary_source,coingecko
BTC-USD,crypto,USD,24/7,coingecko,bitcoin
ETH-EUR,crypto,EUR,24/7,coingecko,ethereum
SPY,equity,USD,XNYS,coingecko,spy-token
"""


def coin(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "current_price": 7, "last_updated": "2026-03-13T15:59:31Z", **more}


def answer(*coins: Any) -> Answer:
    return Answer(200, json.dumps(coins).encode(), {"Content-Type": "application/json"})


DOLLARS, EUROS = r".*vs_currency=usd.*", r".*vs_currency=eur.*"


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    monkeypatch.setattr(http, "sleep", lambda pause: None)
    with FaultProxy() as server:
        yield server


@pytest.fixture
def given(vendor: FaultProxy, make_settings: Callable[..., Settings], tmp_path: Path) -> Callable[..., Settings]:
    """Settings for CoinGecko and the instruments above, or those given."""

    def make(instruments: str = INSTRUMENTS, **more: Any) -> Settings:
        file = tmp_path / "instruments.csv"
        file.write_text(instruments)
        fast = {"http_timeout_seconds": 5, "vendor_budgets": {"coingecko": "1000/minute"}}
        return make_settings(coingecko_url=vendor.url, instruments_file=file, **(fast | more))

    return make


def details(settings: Settings) -> list[tuple[bool, dict[str, Any]]]:
    return [(row[4], row[8]) for row in outcomes(settings)]


# What is asked for


def test_only_what_is_open_is_asked_for(given: Callable[..., Settings], vendor: FaultProxy) -> None:
    settings = given()
    vendor.add(answer(coin("ethereum")), path=EUROS, times=None)
    vendor.add(answer(coin("bitcoin"), coin("spy-token")), path=DOLLARS + "spy-token.*")
    vendor.add(answer(coin("bitcoin")), path=DOLLARS)
    assert (pull(settings, "coingecko", FRIDAY).events, pull(settings, "coingecko", SATURDAY).events) == (3, 2)
    assert details(settings) == [
        (True, {"asked": 3, "rejected": 0, "missing": []}),
        (True, {"asked": 2, "closed": 1, "rejected": 0, "missing": []}),
    ]


def test_where_everything_is_closed_nothing_is_asked_and_that_is_fine(
    given: Callable[..., Settings], vendor: FaultProxy
) -> None:
    header, _, _, spy = INSTRUMENTS.splitlines()
    settings = given(f"{header}\n{spy}\n")
    report = pull(settings, "coingecko", SATURDAY)
    assert str(report) == "coingecko: nothing asked, the markets of all 1 are closed"
    assert vendor.seen == ()
    assert details(settings) == [(True, {"asked": 0, "closed": 1, "missing": []})]


@pytest.mark.parametrize(("extended", "asked"), [(False, 2), (True, 3)])
def test_extended_hours_are_hours(
    given: Callable[..., Settings], vendor: FaultProxy, extended: bool, asked: int
) -> None:
    early = Window(datetime(2026, 3, 13, 12, 0, tzinfo=UTC), datetime(2026, 3, 13, 12, 1, tzinfo=UTC))
    vendor.add(answer(coin("bitcoin")), path=DOLLARS)
    vendor.add(answer(coin("ethereum")), path=EUROS)
    assert pull(given(extended_hours=extended), "coingecko", early).asked == asked


@pytest.mark.parametrize(("plan", "asked"), [("starter", 1), ("advanced", 0)])
def test_a_vendor_that_is_15_minutes_behind_is_asked_for_the_session_s_last_minutes_after_its_end(
    given: Callable[..., Settings], vendor: FaultProxy, plan: str, asked: int
) -> None:
    """Friday's session ends at 20:00 UTC."""
    instruments = "symbol,asset_class,currency,calendar,primary_source,polygon\nSPY,equity,USD,XNYS,polygon,SPY\n"
    settings = given(instruments, polygon_url=vendor.url, polygon_api_key="k", polygon_plan=plan)
    vendor.add(Answer(200, b'{"status": "OK", "tickers": []}', {"Content-Type": "application/json"}), times=None)
    after = [Window(FRIDAY.end.replace(hour=20, minute=m), FRIDAY.end.replace(hour=20, minute=m + 1)) for m in (14, 15)]
    assert [pull(settings, "polygon", window).asked for window in after] == [asked, 0]


def test_the_simulator_is_always_open(given: Callable[..., Settings]) -> None:
    instruments = "symbol,asset_class,currency,calendar,primary_source,simulator\nSPY,equity,USD,XNYS,simulator,SPY\n"
    assert pull(given(instruments), "simulator", SATURDAY).asked == 1


# Budgets and circuits


def test_a_budget_of_the_settings_holds_and_its_end_is_in_the_outcome(
    given: Callable[..., Settings], vendor: FaultProxy
) -> None:
    settings = given(vendor_budgets={"coingecko": "2/minute+100/day"})
    vendor.add(answer(coin("bitcoin")), path=DOLLARS, times=None)
    vendor.add(answer(coin("ethereum")), path=EUROS, times=None)
    pull(settings, "coingecko", SATURDAY)
    with pytest.raises(BudgetSpentError, match="coingecko: 2 of the 2 calls per minute are used"):
        pull(settings, "coingecko", SATURDAY)
    assert len(vendor.seen) == 2
    (_, (ok, detail)) = details(settings)
    assert (ok, detail["budget"], detail["used"], detail["limit"]) == (False, "minute", 2, 2)
    assert detail["until"].endswith("Z")
    with connect(settings) as conn:
        (state,) = vendor_states(conn)
    assert (state.vendor, state.minute_limit, state.day_used, state.day_limit) == ("coingecko", 2, 2, 100)


def test_an_open_circuit_is_in_the_outcome_since_when_and_until_when(
    given: Callable[..., Settings], vendor: FaultProxy
) -> None:
    settings = given()
    vendor.add(Answer(500, b"oops"), times=20)
    vendor.add(answer(coin("bitcoin")), path=DOLLARS)
    vendor.add(answer(coin("ethereum")), path=EUROS)
    for _ in range(5):
        with pytest.raises(SourceError, match="answered 500"):
            pull(settings, "coingecko", SATURDAY)
    with pytest.raises(CircuitOpenError, match=r"coingecko is left alone since .*: CoinGecko: answered 500"):
        pull(settings, "coingecko", SATURDAY)
    assert len(vendor.seen) == 20
    with connect(settings) as conn:
        pass_time(conn, 61)
    assert pull(settings, "coingecko", SATURDAY).events == 2

    told = [(row[0], row[4], row[8].get("circuit")) for row in outcomes(settings)]
    assert told == [
        *[("pull", False, None)] * 4,
        ("vendor", False, "open"),
        ("pull", False, None),
        ("pull", False, "open"),
        ("vendor", True, "closed"),
        ("pull", True, None),
    ]
    detail = outcomes(settings)[6][8]
    assert datetime.fromisoformat(detail["until"]) - datetime.fromisoformat(detail["since"]) == timedelta(minutes=1)


def test_answers_that_are_no_events_open_the_circuit_too(given: Callable[..., Settings], vendor: FaultProxy) -> None:
    settings = given()
    vendor.add(answer("nonsense"), times=None)
    for _ in range(5):
        with pytest.raises(
            SourceError, match="coingecko: nothing of what it answered is an event: not an object but st"
        ):
            pull(settings, "coingecko", SATURDAY)
    with pytest.raises(CircuitOpenError):
        pull(settings, "coingecko", SATURDAY)


def test_a_pull_that_takes_too_long_is_ended(
    given: Callable[..., Settings], vendor: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    from include.pipeline import pull as pulling

    monkeypatch.setattr(pulling, "_WHOLE", 0)
    settings = given()
    with pytest.raises(RefusedError, match="the time for this pull is over"):
        pull(settings, "coingecko", SATURDAY)
    assert details(settings)[0][1]["time"] == "over"


# What stays


def test_what_came_before_a_failure_is_sent_and_counted(given: Callable[..., Settings], vendor: FaultProxy) -> None:
    settings = given()
    vendor.add(answer(coin("ethereum"), "nonsense"), path=EUROS)
    vendor.add(Answer(500, b"oops"), path=DOLLARS, times=None)
    with pytest.raises(SourceError, match="answered 500"):
        pull(settings, "coingecko", SATURDAY)
    assert [(event.symbol, event.complete_until) for event in in_stream(settings)] == [("ETH-EUR", None)]
    ((_, _, _, _, ok, count, _, error, detail),) = outcomes(settings)
    assert (ok, count, detail["rejected"]) == (False, 1, 1)
    assert "answered 500" in error
    assert len(quarantined(settings)) == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>Just a moment</html>", "CoinGecko: the answer is no JSON but '<html>Just a moment</html>'"),
        (b'{"status": {"error_code": 0}}', "CoinGecko: the answer is no list of coins but"),
    ],
)
def test_an_answer_that_does_not_fit_at_all_is_kept_raw_and_named(
    given: Callable[..., Settings], vendor: FaultProxy, body: bytes, reason: str
) -> None:
    settings = given()
    vendor.add(Answer(200, body), times=None)
    for _ in range(2):  # the same again is the same row
        with pytest.raises(MisfitError, match="CoinGecko: the answer is no"):
            pull(settings, "coingecko", SATURDAY)
    ((origin, _, source, _, _, said, raw),) = quarantined(settings)
    assert origin == "coingecko:2026-03-14T15:59:00.000000Z/2026-03-14T16:00:00.000000Z"
    assert (source, raw) == ("coingecko", body)
    assert said.startswith(reason)


def test_a_warehouse_that_goes_away_ends_the_pull(given: Callable[..., Settings], vendor: FaultProxy) -> None:
    settings = given()

    def stop(request: Any) -> bool:
        with connect(settings) as conn:
            conn.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where pid <> pg_backend_pid() and datname = current_database() and usename = current_user"
            )
        return True

    vendor.add(answer(coin("ethereum")), where=stop)
    with pytest.raises(psycopg.OperationalError):
        pull(settings, "coingecko", SATURDAY)
    assert [ok for ok, _ in details(settings)] == [False]
