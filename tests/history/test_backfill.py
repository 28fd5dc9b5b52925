"""One window: what is asked for, landed, loaded and accepted, and what is not asked for again."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from include.aws import client
from include.commands.local_exchange import LocalExchange
from include.errors import ConfigError, LeaseHeldError, LoadRejectedError
from include.events import Window
from include.pipeline.backfill import backfill
from include.sources.binance import Binance
from include.warehouse import history
from include.warehouse.db import connect
from include.warehouse.leases import lease
from tests.history.vendor import (
    DAY,
    MINUTE,
    ONE_DAY,
    MakeSettings,
    bars,
    coverage,
    day,
    exchange,
    learns,
    rows,
    trades,
)  # fmt: skip

pytestmark = pytest.mark.stack
BTC_ETH = ["BTC-USD", "ETH-USD"]


def test_a_day_of_bars_is_landed_loaded_and_accepted(make_history: MakeSettings) -> None:
    with exchange(bars={"BTCUSDT": bars(DAY, range(1440)), "ETHUSDT": bars(DAY, [0, 1439])}) as (_, url):
        settings = make_history(binance_url=url)
        seen: list[int] = []
        report = backfill(settings, "binance", day(0), symbols=BTC_ETH, progress=seen.append)
    assert (report.asked, report.events, report.objects, report.inserted, report.calls) == (2, 1442, 1, 1442, 4)
    assert seen == [1000, 1440, 1441, 1442]
    assert rows(settings, "select state, is_live, read_count from ops.loads") == [("accepted", False, 1442)]
    assert coverage(settings) == [("BTC-USD", 0, 24, 1440, "events"), ("ETH-USD", 0, 24, 2, "events")]
    ((key, count),) = rows(settings, "select s3_key, event_count from ops.history_pieces where state = 'loaded'")
    now = datetime.now(UTC)
    assert key.startswith(f"raw/dt={now:%Y-%m-%d}/hh=") and "/history-binance-bar-2026-03-02-" in key
    body = client(settings, "s3").get_object(Bucket=settings.bucket, Key=key)["Body"].read()
    lines = [json.loads(line) for line in gzip.decompress(body).splitlines()]
    assert len(lines) == count == 1442
    assert [line["complete_until"] for line in lines if line["complete_until"]] == ["2026-03-03T00:00:00.000000Z"]
    assert lines[-1]["complete_until"], "the last line says it"


def test_what_is_covered_is_not_asked_for_again(make_history: MakeSettings) -> None:
    with exchange(bars={"BTCUSDT": bars(DAY, range(3)), "ETHUSDT": bars(DAY, range(3))}) as (local, url):
        settings = make_history(binance_url=url)
        backfill(settings, "binance", Window(DAY, DAY + 12 * 60 * MINUTE), symbols=["BTC-USD"])
        assert local.calls == 1
        report = backfill(settings, "binance", day(0), symbols=BTC_ETH)
        assert (local.calls, report.asked, report.inserted) == (4, 2, 3), "half a day of one, a whole day of the other"
        again = backfill(settings, "binance", day(0), symbols=BTC_ETH)
    assert (local.calls, again.asked, again.covered, again.events) == (4, 0, 2, 0)
    assert str(again) == "binance bars: nothing to ask for (2 are there)"


def test_reprocess_asks_again_and_goes_on_where_the_same_run_stopped(make_history: MakeSettings) -> None:
    with exchange(bars={"BTCUSDT": bars(DAY, range(3))}) as (local, url):
        settings = make_history(binance_url=url)
        backfill(settings, "binance", day(0), symbols=["BTC-USD"])
        learns(local, bars={"BTCUSDT": bars(DAY, range(3), price=200)})
        report = backfill(settings, "binance", day(0), symbols=["BTC-USD"], reprocess=True, run_id="monday")
        assert report.inserted == 3, "revisions of what was there"
        calls = local.calls
        assert backfill(settings, "binance", day(0), symbols=["BTC-USD"], reprocess=True, run_id="monday").asked == 0
        assert local.calls == calls
        assert backfill(settings, "binance", day(0), symbols=["BTC-USD"], reprocess=True).duplicates == 3
    assert coverage(settings) == [("BTC-USD", 0, 24, 3, "events")]


def test_gaps_are_fetched_exactly_covered_or_not(make_history: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, Any]] = []

    def missing(conn: object, *, source: str, window: Window, symbols: list[str]) -> list[tuple[str, Window]]:
        asked.append((source, symbols))
        return [("BTC-USD", Window(DAY + 2 * MINUTE, DAY + 4 * MINUTE)), ("ADA-USD", day(0))]

    monkeypatch.setattr("include.pipeline.gaps.missing", missing)
    with exchange(bars={"BTCUSDT": bars(DAY, [0, 1, 5])}) as (local, url):
        settings = make_history(binance_url=url)
        backfill(settings, "binance", day(0), symbols=["BTC-USD"])
        learns(local, bars={"BTCUSDT": bars(DAY, range(10))})
        report = backfill(settings, "binance", day(0), symbols=["BTC-USD"], gaps=True)
    assert (report.events, report.inserted, report.calls) == (2, 2, 1)
    assert asked == [("binance", ["BTC-USD"])]
    assert [row[0].minute for row in rows(settings, "select event_time from raw.market_events order by 1")] == [
        0, 1, 2, 3, 5,
    ]  # fmt: skip


def test_a_missing_minute_that_comes_wrong_again_stays_in_quarantine_and_is_no_failure(
    make_history: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The high of minute 5 is below its low, whenever the vendor is asked for it."""
    found = [("BTC-USD", Window(DAY + 5 * MINUTE, DAY + 6 * MINUTE))]
    monkeypatch.setattr("include.pipeline.gaps.missing", lambda *_, **__: found)
    crossed = (bars(DAY, [5])[0][0], 10, 5, 9, 10, 1)
    with exchange(bars={"BTCUSDT": [*bars(DAY, range(5)), crossed, *bars(DAY, range(6, 60))]}) as (_, url):
        settings = make_history(binance_url=url)
        assert backfill(settings, "binance", day(0), symbols=["BTC-USD"]).quarantined == 1
        again = backfill(settings, "binance", day(0), symbols=["BTC-USD"], gaps=True)
    assert (again.events, again.inserted, again.quarantined) == (1, 0, 1)
    assert rows(settings, "select state, inserted_count, quarantined_count from ops.loads order by load_id") == [
        ("accepted", 59, 1), ("accepted", 0, 1),
    ]  # fmt: skip


def test_nothing_before_listing_and_unknown_instruments_are_results_told_in_the_report(
    make_history: MakeSettings,
) -> None:
    with exchange(bars={"BTCUSDT": bars(DAY + ONE_DAY, range(3))}) as (local, url):
        settings = make_history(binance_url=url)
        report = backfill(settings, "binance", day(0), symbols=BTC_ETH)
        assert (report.events, report.objects, report.empty) == (0, 0, ("BTC-USD",))
        assert [symbol for symbol, _ in report.refused] == ["ETH-USD"]
        assert "does not know ETHUSDT" in str(report)
        assert coverage(settings) == [("BTC-USD", 0, 24, 0, "empty"), ("ETH-USD", 0, 24, 0, "refused")]
        alone = backfill(settings, "binance", day(1), symbols=["ETH-USD"])
        assert [symbol for symbol, _ in alone.refused] == ["ETH-USD"], "no failure, though all was refused"
        calls = local.calls
        assert backfill(settings, "binance", day(0), symbols=BTC_ETH).asked == 0
        assert local.calls == calls
    assert rows(settings, "select distinct ok from ops.outcomes where step = 'history'") == [(True,)]
    assert rows(settings, "select origin, symbol from raw.rejected_events order by 1") == [
        ("history binance bar:2026-03-02T00:00:00.000000Z/2026-03-03T00:00:00.000000Z", "ETH-USD"),
        ("history binance bar:2026-03-03T00:00:00.000000Z/2026-03-04T00:00:00.000000Z", "ETH-USD"),
    ]


def test_a_refusal_is_forgotten_after_a_day_and_when_the_id_is_another_one(make_history: MakeSettings) -> None:
    with exchange(bars={"BTCUSDT": []}) as (local, url):
        settings = make_history(binance_url=url)
        backfill(settings, "binance", day(0), symbols=["ETH-USD"])
        learns(local, bars={"ETHUSDT": bars(DAY, [1])})
        assert backfill(settings, "binance", day(0), symbols=["ETH-USD"]).asked == 0
        rows(settings, "update ops.history_coverage set asked_as = 'ETHBUSD' returning 1")
        assert backfill(settings, "binance", day(0), symbols=["ETH-USD"]).inserted == 1
        rows(settings, "update ops.history_coverage set ended = 'refused' returning 1")
        assert backfill(settings, "binance", day(0), symbols=["ETH-USD"]).asked == 0
        rows(settings, "update ops.history_coverage set fetched_at = now() - interval '25 hours' returning 1")
        assert backfill(settings, "binance", day(0), symbols=["ETH-USD"]).asked == 1


def test_a_window_ends_where_the_vendors_past_does(make_history: MakeSettings) -> None:
    now = datetime.now(UTC)
    start = now.replace(hour=0, minute=0, second=0, microsecond=0)
    with exchange(bars={"BTCUSDT": bars(start, range(1440))}) as (_, url):
        settings = make_history(binance_url=url)
        if now.hour or now.minute > 1:
            report = backfill(settings, "binance", Window(start, start + ONE_DAY), symbols=["BTC-USD"])
            assert now - MINUTE < report.window.end <= datetime.now(UTC)
            assert report.events == (report.window.end - start) // MINUTE, "no bar that is still being formed"
        tomorrow = Window(start + ONE_DAY, start + 2 * ONE_DAY)
        with pytest.raises(ConfigError, match=r"binance has bars up to .* by now; ask for a window that begins before"):
            backfill(settings, "binance", tomorrow)


def test_what_does_not_exist_is_said_and_what_a_source_does_not_have_is_left_out(make_history: MakeSettings) -> None:
    with exchange() as (local, url):
        settings = make_history(binance_url=url)
        for wrong, said in [
            ({"source": "nasdaq"}, "there is no history of a source 'nasdaq'; there is of simulator"),
            ({"kind": "quote"}, "binance has no history of quotes; it has bars and trades, or another source does"),
            ({"symbols": ["BTC-USD", "BTCUSD"]}, "there is no instrument BTCUSD"),
        ]:
            with pytest.raises(ConfigError, match=said):
                backfill(settings, **{"source": "binance", "window": day(0)} | wrong)  # type: ignore[arg-type]
        assert backfill(settings, "binance", day(0), symbols=["AAPL"]).asked == 0
    assert local.calls == 0


def test_the_days_on_which_an_exchange_is_closed_are_not_asked_for(make_history: MakeSettings, tmp_path: Path) -> None:
    file = tmp_path / "instruments.csv"
    file.write_text(
        "symbol,asset_class,currency,calendar,primary_source,binance\n"
        "AAPL,equity,USD,XNYS,binance,AAPLUSDT\nBTC-USD,crypto,USD,24/7,binance,BTCUSDT\n"
    )
    friday, week = DAY + 4 * ONE_DAY, {"AAPLUSDT": bars(DAY, []), "BTCUSDT": bars(DAY, [])}
    with exchange(bars=week) as (_, url):
        settings = make_history(binance_url=url, instruments_file=file)
        sunday = backfill(settings, "binance", day(6))
        assert (sunday.asked, sunday.closed, sunday.calls) == (1, 1, 2)
        holiday = Window(datetime(2026, 7, 4, tzinfo=UTC), datetime(2026, 7, 6, tzinfo=UTC))
        assert backfill(settings, "binance", holiday, symbols=["AAPL"]).calls in (0, 2), "a late Friday, New York time"
        backfill(settings, "binance", Window(friday, friday + 5 * ONE_DAY), symbols=["AAPL"])
    assert coverage(settings, "AAPL")[-1] == ("AAPL", 4 * 24, 9 * 24, 0, "empty"), "from Friday to Tuesday in one piece"


def test_objects_hold_so_many_events_at_the_most_and_each_is_a_load(make_history: MakeSettings) -> None:
    with exchange(trades={"BTCUSDT": trades(DAY, range(2600)), "ETHUSDT": trades(DAY, range(10))}) as (_, url):
        settings = make_history(binance_url=url, history_land_events=1000)
        report = backfill(settings, "binance", day(0), kind="trade", symbols=BTC_ETH)
    assert (report.events, report.objects, report.inserted) == (2610, 3, 2610)
    assert rows(settings, "select event_count, symbols from ops.history_pieces order by created_at") == [
        (1000, ["BTC-USD"]), (1000, ["BTC-USD"]), (610, BTC_ETH),
    ]  # fmt: skip
    assert coverage(settings) == [("BTC-USD", 0, 24, 2600, "events"), ("ETH-USD", 0, 24, 10, "events")]


def test_an_answer_larger_than_an_object_is_parted_and_covers_nothing_before_its_last_part(
    make_history: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("include.sources.binance.PAGE", 2500)
    monkeypatch.setattr("include.commands.local_exchange.PAGE", 2500)
    with exchange(trades={"BTCUSDT": trades(DAY, range(2500))}) as (_, url):
        settings = make_history(binance_url=url, history_land_events=1000)
        backfill(settings, "binance", day(0), kind="trade", symbols=["BTC-USD"])
    covers = rows(
        settings, "select event_count, jsonb_array_length(covers) from ops.history_pieces order by created_at"
    )
    assert covers == [(1000, 0), (1000, 0), (500, 1)]


def test_a_window_that_is_worked_on_is_left_alone(make_history: MakeSettings) -> None:
    with exchange(bars={"BTCUSDT": []}) as (_, url):
        settings = make_history(binance_url=url)
        with connect(settings) as other, lease(other, history.lease_name("binance", "bar", DAY), seconds=60):
            with pytest.raises(LeaseHeldError, match="the step history binance bar 2026-03-02T00:00:00Z runs already"):
                backfill(settings, "binance", day(0), symbols=["BTC-USD"])
            backfill(settings, "binance", day(1), symbols=["BTC-USD"])


def test_a_rejected_load_fails_the_backfill_until_somebody_decides(make_history: MakeSettings) -> None:
    crossed = [(at, 10, 5, 9, 10, 1) for at, *_ in bars(DAY, range(10))]  # the high is below the low
    with exchange(bars={"BTCUSDT": crossed}) as (local, url):
        settings = make_history(binance_url=url)
        with pytest.raises(LoadRejectedError, match="was rejected"):
            backfill(settings, "binance", day(0), symbols=["BTC-USD"])
        with pytest.raises(LoadRejectedError, match=r"the loads 1 of this window are rejected; .* --reprocess"):
            backfill(settings, "binance", day(0), symbols=["BTC-USD"])
        assert local.calls == 2, "asked for once (two pages)"
        learns(local, bars={"BTCUSDT": bars(DAY, range(10))})
        assert backfill(settings, "binance", day(0), symbols=["BTC-USD"], reprocess=True).inserted == 10
        assert backfill(settings, "binance", day(0), symbols=["BTC-USD"]).asked == 0


def test_rows_that_are_no_events_go_to_quarantine_once_however_often_they_come(make_history: MakeSettings) -> None:
    class Odd(LocalExchange):
        def answer(self, path: str, asked: Any) -> tuple[int, Any]:
            status, data = super().answer(path, asked)
            return status, [*data, ["soon", 1], {"not": "a bar"}] if data else data

    with exchange(local=Odd(bars={"BTCUSDT": bars(DAY, range(3))})) as (_, url):
        settings = make_history(binance_url=url)
        report = backfill(settings, "binance", day(0), symbols=["BTC-USD"])
        backfill(settings, "binance", day(0), symbols=["BTC-USD"], reprocess=True)
    assert (report.inserted, report.rejected) == (3, 2)
    assert rows(settings, "select symbol, reason from raw.rejected_events order by reason") == [
        ("BTC-USD", "2 values; there must be 12: openTime, open, high, low, close, volume, closeTime, quoteVolume, "
         "count, takerBuyBaseVolume, takerBuyQuoteVolume, unused"),
        ("BTC-USD", "not an array but dict"),
    ]  # fmt: skip


def test_the_simulators_past_is_what_was_seen_live_and_comes_all_instruments_together(
    make_history: MakeSettings,
) -> None:
    settings = make_history(simulator_trades_per_minute=60)
    two_hours = Window(DAY, DAY + timedelta(hours=2))
    report = backfill(settings, "simulator", two_hours, symbols=["BTC-USD", "AAPL"])
    assert (report.kind, report.events, report.calls) == ("quote", 240, 0)
    assert coverage(settings) == [("AAPL", 0, 2, 120, "events"), ("BTC-USD", 0, 2, 120, "events")]
    ticks = backfill(settings, "simulator", two_hours, kind="trade", symbols=["BTC-USD", "AAPL"])
    assert ticks.inserted == ticks.events > 0
    assert rows(settings, "select count(*) >= 0 from ops.simulator_labels") == [(True,)]


def test_a_budget_of_the_settings_holds_for_history_too(make_history: MakeSettings) -> None:
    settings = make_history(vendor_budgets={"binance": "10/day"})
    assert (Binance(settings).budget.per_minute, Binance(settings).budget.per_day) == (6000, 10)
