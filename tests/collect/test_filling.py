"""What the feed did not bring comes over REST: missing ids, time without a connection, the minute before the start."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from include.events import Window
from include.pipeline.backfill import backfill
from include.pipeline.cycle import process
from include.settings import Settings
from tests.collect.running import BTC, ETH, QUICK, Running, ids, rows, streamed
from tests.collect.vendors import BinanceRest, agg_frame, agg_trade, coinbase, heartbeat, match, now
from tests.conftest import wait_until
from tests.faults.proxy import Answer, FaultProxy
from tests.faults.websocket import FeedServer

SECOND = timedelta(seconds=1)


def test_ids_that_are_missing_are_fetched_over_rest(market: Settings, feed: FeedServer, rest: BinanceRest) -> None:
    at = now()
    with Running(market, "binance") as running:
        feed.wait_for(1)
        running.caught_up()
        rest.trades += [agg_trade(number, at) for number in range(1, 9)]
        feed.say(agg_frame(1, at), agg_frame(2, at), agg_frame(7, at), agg_frame(8, at))
        running.taken_in(8)
        wait_until(lambda: not running.collector.filling._tries, 5, "what is done with is forgotten")
        report = running.stop()
    assert sorted(ids(market)) == list(range(1, 9))
    assert (report.counts.filled, report.counts.gaps, report.counts.lost) == (4, 1, 0)
    events = streamed(market)
    one = next(event for event in events if event["vendor_id"] == "3")
    assert one["payload"] == agg_trade(3, at), "as the feed would have brought it"


def test_a_trade_that_coinbase_counts_but_did_not_send_is_fetched(
    make_settings: Callable[..., Settings], vendor: FaultProxy
) -> None:
    at = datetime.now(UTC)
    missed = [
        {"trade_id": number, "side": "sell", "size": "0.1", "price": "5.0", "time": at.isoformat()}
        for number in (12, 11, 10)
    ]
    vendor.add(Answer(200, b"[]"), times=None)  # when it starts there is nothing yet
    with FeedServer(answer=coinbase) as server:
        settings = make_settings(coinbase_url=vendor.url, coinbase_feed_url=server.url)
        with Running(settings, "coinbase") as running:
            server.wait_for(1)
            running.caught_up()
            vendor.clear()
            vendor.add(Answer(200, json.dumps(missed).encode()), times=None)
            server.say(match(10, at), heartbeat(12, at + SECOND))
            running.taken_in(3)
            running.stop()
    assert sorted(ids(settings)) == [10, 11, 12]


def test_what_nobody_has_any_more_is_said_and_holds_nothing_back(
    market: Settings, feed: FeedServer, rest: BinanceRest
) -> None:
    at = now()
    with Running(market, "binance") as running:
        feed.wait_for(1)
        running.caught_up()
        rest.trades += [agg_trade(number, at) for number in range(1, 6)]
        rest.hides = {3}
        feed.say(agg_frame(1, at), agg_frame(2, at), agg_frame(4, at), agg_frame(5, at))
        wait_until(lambda: running.collector.intake.counts.lost or running.collector.teller.totals.lost, 15, "given up")
        report = running.stop()
    assert sorted(ids(market)) == [1, 2, 4, 5]
    assert report.counts.lost == 1
    ((error,),) = rows(market, "select error from ops.outcomes where step = 'collect' and window_start is null")
    assert error.startswith("BTC-USD: 1 trades, ids 3 to 3, about ")
    assert error.endswith("are missing and could not be fetched: the vendor has them not")


def test_a_gap_that_is_too_long_is_not_fetched_but_said(market: Settings, feed: FeedServer, rest: BinanceRest) -> None:
    at = now()
    with Running(market, "binance") as running:
        feed.wait_for(1)
        running.caught_up()
        calls = len(rest.asked)
        feed.say(agg_frame(1, at), agg_frame(500_000, at))
        wait_until(lambda: running.collector.teller.totals.lost, 10, "it is given up")
        assert len(rest.asked) == calls
        running.stop()
    ((error,),) = rows(market, "select error from ops.outcomes where step = 'collect' and window_start is null")
    assert "499,998 trades" in error and error.endswith("are missing, too many to fetch; a backfill brings them")


def test_the_exchanges_history_brings_what_was_not_fetched_and_nothing_twice(
    marts_settings: Settings, feed: FeedServer, rest: BinanceRest, vendor: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    market = marts_settings.model_copy(update={"binance_url": vendor.url, "binance_feed_url": feed.url})
    monkeypatch.setattr("include.pipeline.collector.filling.MOST_TRADES", 2)
    at = now() - timedelta(minutes=5)  # history is there once the minute is over
    with Running(market, "binance") as running:
        feed.wait_for(1)
        running.caught_up()
        feed.say(agg_frame(1, at), agg_frame(5, at))
        wait_until(lambda: running.collector.teller.totals.lost == 3, 10, "three are given up")
        running.stop()
    rest.trades += [agg_trade(number, at) for number in range(1, 6)]
    backfill(market, "binance", Window(at - SECOND, at + SECOND), kind="trade")
    assert [step.error for step in process(market, only=("land", "load", "audit"))] == [None, None, None]
    query = "select vendor_id from raw.market_events where source = 'binance' and kind = 'trade' order by 1"
    assert rows(market, query) == [("1",), ("2",), ("3",), ("4",), ("5",)]


def test_a_start_within_a_minute_fetches_what_the_minute_had_before(
    market: Settings, feed: FeedServer, rest: BinanceRest
) -> None:
    minute = now().replace(second=0, microsecond=0)
    rest.trades += [agg_trade(1, minute - SECOND), agg_trade(2, minute), agg_trade(3, now())]
    with Running(market, "binance") as running:
        feed.wait_for(1)
        running.caught_up()
        feed.say(agg_frame(4, now()))
        running.taken_in(3)
        running.stop()
    assert {2, 3, 4} <= set(ids(market))


def test_what_happened_while_no_connection_stood_is_fetched(
    market: Settings, feed: FeedServer, rest: BinanceRest
) -> None:
    at = now()
    with Running(market, "binance", [BTC, ETH]) as running:
        feed.wait_for(1)
        running.caught_up()
        feed.say(agg_frame(1, at))
        running.taken_in(1)
        feed.go_away()
        rest.trades += [agg_trade(1, at), agg_trade(2, now()), agg_trade(3, now())]
        feed.come_back()
        running.taken_in(3)
        report = running.stop()
    assert sorted(ids(market)) == [1, 2, 3], "though no later trade showed that any was missing"
    assert report.counts.filled == 2 and report.counts.reconnects >= 1


def test_rest_that_fails_is_asked_again(
    market: Settings, feed: FeedServer, vendor: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("include.sources.http.ATTEMPTS", 1)
    monkeypatch.setattr("include.pipeline.collector.filling.ATTEMPTS", 9)
    at, fault = now(), BinanceRest()
    fault.trades += [agg_trade(1, at)]
    vendor.add(Answer(500, b"{}"), times=2)
    vendor.add(fault, times=None)
    with Running(market, "binance") as running:
        running.taken_in(1, seconds=20)
        running.caught_up()
        running.stop()
    assert ids(market) == [1]


def test_a_start_that_cannot_be_caught_up_is_said_and_collecting_goes_on(
    market: Settings, feed: FeedServer, vendor: FaultProxy
) -> None:
    vendor.add(Answer(403, b'{"msg":"no"}'), times=None)
    with Running(market, "binance") as running:
        feed.wait_for(1)
        running.caught_up(20)
        feed.say(agg_frame(1, now()))
        running.taken_in(1)
        running.stop()
    assert ids(market) == [1]
    ((error,),) = rows(market, "select error from ops.outcomes where step = 'collect' and window_start is null")
    assert "could not all be fetched: Binance: answered 403" in error


def test_complete_until_follows_the_clock_of_what_has_left_and_waits_for_gaps(
    market: Settings, feed: FeedServer, rest: BinanceRest
) -> None:
    start = now() - 20 * SECOND
    with Running(market, "binance", tuning=replace(QUICK, settle=0.5)) as running:
        feed.wait_for(1)
        running.caught_up()

        def say(number: int, second: int) -> None:
            before = running.collector.outlet.taken
            feed.say(agg_frame(number, start + second * SECOND))
            wait_until(lambda: running.collector.outlet.taken > before, 10, "it is in the stream")

        say(1, 0)
        say(2, 5)
        say(4, 10)  # 3 is missing from second 5 on
        say(5, 11)
        rest.trades += [agg_trade(3, start + 6 * SECOND)]
        wait_until(lambda: running.collector.outlet.taken == 5, 10, "what was missing is in the stream")
        say(6, 15)
        running.stop()
    until = {
        int(one["vendor_id"]): None
        if one["complete_until"] is None
        else round((datetime.fromisoformat(one["complete_until"]) - start).total_seconds())
        for one in streamed(market)
    }
    assert until == {1: None, 2: -2, 4: 3, 5: 5, 3: 5, 6: 9}
