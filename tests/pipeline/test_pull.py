"""Pull: what a source says ends in the stream, or in quarantine, and each attempt leaves its outcome."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.errors import ConfigError, LeaseHeldError, SourceError, StreamError
from include.events import Window
from include.instruments import register
from include.pipeline.pull import PullReport, pull
from include.settings import Settings
from include.sources import http
from include.warehouse.db import connect
from include.warehouse.leases import lease
from tests.faults.proxy import Answer, FaultProxy, LoseAnswer, RefuseRecords, aws_faults
from tests.pipeline.sent import impatient, in_stream, outcomes, quarantined  # noqa: F401  # a fixture

pytestmark = pytest.mark.stack

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
MINUTE = Window(NOON - timedelta(minutes=1), NOON)
BITCOIN = {"id": "bitcoin", "current_price": 64000.5, "last_updated": "2026-03-14T11:59:31.554Z"}


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """CoinGecko, as the test wants it; nobody waits between attempts."""
    monkeypatch.setattr(http, "sleep", lambda pause: None)
    with FaultProxy() as server:
        yield server


@pytest.fixture
def coingecko(vendor: FaultProxy, make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(
        coingecko_url=vendor.url, coingecko_plan="demo", coingecko_api_key="CG-s3cret", http_timeout_seconds=5
    )


def answer(*coins: Any) -> Answer:
    return Answer(200, json.dumps(coins).encode(), {"Content-Type": "application/json"})


def test_a_minute_of_the_simulator_is_in_the_stream_with_its_outcome(settings: Settings) -> None:
    report = pull(settings, "simulator", MINUTE, run_id="run 1")
    events = in_stream(settings)
    assert (report.asked, report.events, report.rejected) == (25, len(events), 0)
    assert len({event.symbol for event in events}) == 25 - len(report.missing)
    assert {(event.source, event.kind) for event in events} == {("simulator", "quote")}
    assert [event.complete_until for event in events] == [None] * (len(events) - 1) + [NOON]
    assert outcomes(settings) == [
        ("pull", "simulator", MINUTE.start, NOON, True, report.events, "run 1", None,
         {"asked": 25, "rejected": 0, "missing": list(report.missing)})
    ]  # fmt: skip


def test_pulled_again_the_same_quotes_come_again(settings: Settings) -> None:
    pull(settings, "simulator", MINUTE)
    first = {(event.symbol, event.event_time, str(event.payload)) for event in in_stream(settings)}
    pull(settings, "simulator", MINUTE)
    events = in_stream(settings)
    assert len(events) == 2 * len(first)
    assert {(event.symbol, event.event_time, str(event.payload)) for event in events} == first


def test_what_the_simulator_did_on_purpose_is_noted_once(settings: Settings) -> None:
    hours = Window(NOON - timedelta(hours=2), NOON)
    pull(settings, "simulator", hours)
    pull(settings, "simulator", hours)
    with connect(settings) as conn:
        rows = conn.execute("select seed, shock, starts_at, ends_at, size from ops.simulator_labels").fetchall()
    assert len(rows) >= 6
    assert {row[0] for row in rows} == {settings.simulator_seed}
    assert all(row[2] < hours.end and row[3] > hours.start for row in rows)


def test_registered_instruments_are_pulled_too(settings: Settings) -> None:
    with connect(settings) as conn:
        register(conn, ["XYZ"], "equity")
        register(conn, ["BTCUSD"], "crypto", primary_source="replay")
    assert pull(settings, "simulator", MINUTE).asked == 26
    assert "XYZ" in {event.symbol for event in in_stream(settings)}


def test_coins_arrive_as_sent_and_those_that_are_missing_are_named(coingecko: Settings, vendor: FaultProxy) -> None:
    vendor.add(answer(BITCOIN))
    report = pull(coingecko, "coingecko", MINUTE)
    (event,) = in_stream(coingecko)
    assert (event.symbol, event.payload) == ("BTC-USD", BITCOIN)
    assert (report.asked, len(report.missing), "BTC-USD" in report.missing) == (15, 14, False)
    assert str(report) == "coingecko: 1 events of 15 instruments, nothing of 14"


def test_bad_objects_are_quarantined_once_and_other_ones_later_beside_them(
    coingecko: Settings, vendor: FaultProxy
) -> None:
    bad, worse = {"id": "bitcoin", "last_updated": None}, ["not", "a", "coin"]
    for coins in ([BITCOIN, bad], [BITCOIN, bad], [BITCOIN, worse], [BITCOIN, worse]):
        vendor.add(answer(*coins))
        assert pull(coingecko, "coingecko", MINUTE).rejected == 1
    origin = "coingecko:2026-03-14T11:59:00.000000Z/2026-03-14T12:00:00.000000Z"
    assert [(row[:4], row[5], json.loads(row[6])) for row in quarantined(coingecko)] == [
        ((origin, 100002, "coingecko", "quote"), "last_updated is None; it must be an ISO 8601 time", bad),
        ((origin, 100003, "coingecko", "quote"), "not an object but list", worse),
    ]


def test_an_event_over_one_mebibyte_is_quarantined(coingecko: Settings, vendor: FaultProxy) -> None:
    huge = BITCOIN | {"id": "ethereum", "name": "x" * 1024 * 1024}
    vendor.add(answer(BITCOIN, huge))
    report = pull(coingecko, "coingecko", MINUTE)
    assert (report.events, report.rejected) == (1, 1)
    ((_, line, _, kind, symbol, reason, raw),) = quarantined(coingecko)
    assert (line, kind, symbol) == (100002, "quote", "ETH-USD")
    assert reason.startswith("the record has 1,048,8")
    assert json.loads(raw)["payload"] == huge


def test_a_vendor_that_fails_leaves_an_outcome_without_the_key(coingecko: Settings, vendor: FaultProxy) -> None:
    vendor.add(Answer(503, b"down, CG-s3cret"), times=None)
    with pytest.raises(SourceError, match="answered 503"):
        pull(coingecko, "coingecko", MINUTE)
    (row,) = outcomes(coingecko)
    assert row[:6] == ("pull", "coingecko", MINUTE.start, NOON, False, 0)
    assert row[7].startswith("SourceError: CoinGecko: answered 503")
    assert "CG-s3cret" not in str(row)


def test_records_refused_for_a_moment_and_lost_answers_cost_nothing(settings: Settings) -> None:
    with aws_faults(settings) as (proxy, through):
        proxy.add(RefuseRecords((0, 3, 7)), operation="PutRecords")
        proxy.add(LoseAnswer(), operation="PutRecords")
        report = pull(through, "simulator", MINUTE)
    assert [seen.fault for seen in proxy.seen if seen.operation == "PutRecords"] == [
        "RefuseRecords",
        "LoseAnswer",  # what was refused, once more
        None,  # and again, as nobody knows that it was taken
        None,  # the event that says how complete the source is, when all others were taken
    ]
    arrived = [event.symbol for event in in_stream(settings)]
    assert len(set(arrived)) == report.events
    assert len(arrived) == report.events + 3, "those whose answer got lost came twice"


@pytest.mark.usefixtures("impatient")
def test_records_refused_for_good_fail_the_pull_and_are_named(settings: Settings) -> None:
    with aws_faults(settings) as (proxy, through):
        proxy.add(RefuseRecords((0,)), operation="PutRecords", times=None)
        with pytest.raises(StreamError, match=r"did not take 2 of 2\d events \(1 Prov.*, 1 NotSent; symbols BTC-USD\)"):
            pull(through, "simulator", MINUTE)
    assert outcomes(settings)[0][4] is False
    assert pull(settings, "simulator", MINUTE).events > 20


def test_the_same_source_twice_at_once_is_refused_and_another_is_not(coingecko: Settings, vendor: FaultProxy) -> None:
    vendor.add(answer(BITCOIN))
    with connect(coingecko) as other, lease(other, "pull simulator", seconds=60):
        with pytest.raises(LeaseHeldError, match="pull simulator runs already"):
            pull(coingecko, "simulator", MINUTE)
        assert pull(coingecko, "coingecko", MINUTE).events == 1


def test_a_source_that_does_not_exist_is_refused(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="there is no source 'bloomberg'; there are simulator, coingecko"):
        pull(settings, "bloomberg", MINUTE)


def test_a_source_without_instruments_is_refused(make_settings: Callable[..., Settings], tmp_path: Any) -> None:
    file = tmp_path / "i.csv"
    file.write_text(
        "symbol,asset_class,currency,calendar,primary_source,simulator\nSPY,equity,USD,XNYS,simulator,SPY\n"
    )
    settings = make_settings(instruments_file=file)
    with pytest.raises(ConfigError, match=r"no instrument has an id for coingecko; give some in .*i\.csv"):
        pull(settings, "coingecko", MINUTE)


def test_the_report_reads_as_one_line() -> None:
    report = PullReport("simulator", MINUTE, 25, 24, 1, ("SPY",))
    assert str(report) == "simulator: 24 events of 25 instruments, 1 rejected, nothing of 1"
    assert str(PullReport("yahoo", MINUTE, 15, 15, 0, (), 10)) == "yahoo: 15 events of 15 instruments, 10 closed"
    assert str(PullReport("yahoo", MINUTE, 0, 0, 0, (), 10)) == "yahoo: nothing asked, the markets of all 10 are closed"
