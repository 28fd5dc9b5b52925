"""A collector over a real stream and a real warehouse: counts in = counts out, whatever the feed does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.commands.collect import line
from include.errors import ConfigError, FencedError, LeaseHeldError, NotRunningError
from include.events import Window
from include.pipeline.collect import Collector, wanted
from include.pipeline.collector import intake as intake_module
from include.pipeline.collector import reporting
from include.pipeline.collector.telling import Progress
from include.pipeline.cycle import process
from include.pipeline.pull import pull
from include.settings import Settings
from include.warehouse.db import connect
from include.warehouse.leases import lease
from tests.collect.running import BTC, ETH, QUICK, Running, ids, rows, streamed
from tests.collect.vendors import BinanceRest, agg_frame, kraken, now
from tests.conftest import wait_until
from tests.faults.proxy import Answer, FaultProxy
from tests.faults.websocket import FeedServer

SECOND = timedelta(seconds=1)


def test_each_trade_is_in_the_stream_once_and_in_order(market: Settings, feed: FeedServer, rest: BinanceRest) -> None:
    with Running(market, "binance", [BTC, ETH]) as running:
        feed.wait_for(1)
        for number in range(1, 301):
            feed.say(agg_frame(number, now()), agg_frame(number, now(), "ETHUSDT"))
        running.taken_in(600)
        report = running.stop()
    assert ids(market) == list(range(1, 301)) and ids(market, "ETH-USD") == list(range(1, 301))
    assert str(report) == "binance: 600 events taken in, 600 sent"


def test_what_it_sent_lands_beside_the_pulled_quotes(
    marts_settings: Settings, feed: FeedServer, rest: BinanceRest, vendor: FaultProxy
) -> None:
    market = marts_settings.model_copy(update={"binance_url": vendor.url, "binance_feed_url": feed.url})
    at = now()
    with Running(market, "binance") as running:
        feed.wait_for(1)
        feed.say(*[agg_frame(number, at + number * timedelta(milliseconds=1)) for number in (1, 2, 3)])
        running.taken_in(3)
        running.stop()
    pull(market, "simulator", Window.minute_before(datetime.now(UTC)))
    assert [step.error for step in process(market, only=("land", "load", "audit"))] == [None, None, None]
    assert rows(
        market,
        "select kind, symbol, vendor_id, payload ->> 'p' from raw.market_events where source = 'binance' order by 3",
    ) == [("trade", "BTC-USD", number, "50000.10") for number in "123"]
    ((quotes,),) = rows(market, "select count(*) from raw.market_events where source = 'simulator' and kind = 'quote'")
    assert quotes > 0


def test_repeated_frames_and_overtaken_ones_make_no_difference(
    market: Settings, feed: FeedServer, rest: BinanceRest
) -> None:
    at = now()
    with Running(market, "binance") as running:
        feed.wait_for(1)
        feed.say(*[agg_frame(number, at) for number in (1, 2, 2, 4, 3, 1, 5)])
        running.taken_in(5)
        report = running.stop()
    assert ids(market) == [1, 2, 4, 3, 5]
    assert (report.counts.duplicates, report.counts.gaps, report.counts.lost) == (2, 0, 0)


def test_krakens_snapshot_and_updates_are_collected(make_settings: Callable[..., Settings], vendor: FaultProxy) -> None:
    vendor.add(Answer(200, b'{"error":[],"result":{"XXBTZUSD":[],"last":"0"}}'), times=None)
    at = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

    def trade(number: int) -> dict[str, Any]:
        return {
            "symbol": "BTC/USD", "side": "buy", "price": 5.0, "qty": 1.5, "ord_type": "market", "trade_id": number,
            "timestamp": at,
        }  # fmt: skip

    with FeedServer(answer=kraken) as server:
        settings = make_settings(kraken_url=vendor.url, kraken_feed_url=server.url)
        with Running(settings, "kraken") as running:
            server.wait_for(1)
            server.say(json.dumps({"channel": "trade", "type": "snapshot", "data": [trade(1), trade(2)]}))
            server.say('{"channel":"heartbeat"}')
            server.say(json.dumps({"channel": "trade", "type": "update", "data": [trade(2), trade(3)]}))
            running.taken_in(3)
            report = running.stop()
    assert ids(settings) == [1, 2, 3]
    assert (report.counts.duplicates, report.counts.rejected) == (1, 0)


def test_garbage_goes_to_quarantine_and_collecting_goes_on(
    market: Settings, feed: FeedServer, rest: BinanceRest
) -> None:
    with Running(market, "binance") as running:
        feed.wait_for(1)
        feed.say("<html>", b"\xff\x00", '{"e":"depthUpdate"}', agg_frame(2, now(), "DOGEUSDT"), agg_frame(1, now()))
        running.taken_in(1)
        running.stop()
    found = rows(market, "select line_number, reason, raw from raw.rejected_events where source = 'binance' order by 1")
    assert [(number, reason) for number, reason, _ in found] == [
        (1, "the frame is no JSON"),
        (2, "the frame is no JSON"),
        (3, "a frame of the kind 'depthUpdate' was not asked for"),
        (4, "'DOGEUSDT' was not asked for"),
    ]
    assert bytes(found[1][2]) == b"\xff\x00"


def test_a_reader_waits_when_too_much_is_pending_and_nothing_is_dropped(
    market: Settings, feed: FeedServer, rest: BinanceRest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "MOST_PENDING", 10)
    with Running(market, "binance") as running:
        feed.wait_for(1)
        feed.say(*[agg_frame(number, now()) for number in range(1, 101)])
        running.taken_in(100)
        running.stop()
    assert ids(market) == list(range(1, 101))


def test_a_quote_a_second_and_closed_bars_beside_the_trades(
    market: Settings, feed: FeedServer, rest: BinanceRest
) -> None:
    book = {"u": 1, "s": "BTCUSDT", "b": "1.0", "B": "1.0", "a": "2.0", "A": "2.0"}
    ticks = [json.dumps({"stream": "btcusdt@bookTicker", "data": book | {"u": n}}) for n in range(50)]
    with Running(market, "binance", streams=("trades", "quotes", "bars")) as running:
        feed.wait_for(1)
        feed.say(agg_frame(1, now()), *ticks)
        running.taken_in(2)
        report = running.stop()
    assert [one["kind"] for one in streamed(market)] == ["trade", "quote"]
    assert report.counts.sampled == 49
    assert feed.paths == ["/stream?streams=btcusdt@aggTrade/btcusdt@bookTicker/btcusdt@kline_1m"]


def test_every_report_is_an_outcome_with_what_happened(market: Settings, feed: FeedServer, rest: BinanceRest) -> None:
    with Running(market, "binance") as running:
        feed.wait_for(1)
        running.caught_up()
        feed.say(agg_frame(1, now()), agg_frame(2, now()), agg_frame(2, now()))
        running.taken_in(2)
        running.stop()
    found = rows(
        market,
        "select ok, source, row_count, error, (detail ->> 'duplicates')::int, (detail ->> 'spooled')::int, "
        "window_end > window_start from ops.outcomes where step = 'collect' order by outcome_id",
    )
    assert sum(row[2] for row in found) == 2 and sum(row[4] for row in found) == 1
    assert all(row[:2] == (True, "binance") and row[3] is None and row[6] for row in found[1:])
    assert found[-1][5] == 0


def test_a_feed_that_is_silent_is_said_and_alerted_once(market: Settings, feed: FeedServer, rest: BinanceRest) -> None:
    feed.go_away()
    with Running(market, "binance", tuning=replace(QUICK, silent=0.5)) as running:
        wait_until(lambda: rows(market, "select 1 from marts.alerts"), 10, "somebody is alerted")
        wait_until(
            lambda: len(rows(market, "select 1 from ops.outcomes where not ok and window_start is not null")) >= 2,
            10,
            "said",
        )
        running.stop()
    assert rows(market, "select rule, category, severity from marts.alerts") == [
        ("collector_silent", "operations", "critical")
    ]
    errors = [row[0] for row in rows(market, "select error from ops.outcomes where step = 'collect' and not ok")]
    assert any(error.startswith(f"no connection: {market.binance_feed_url} cannot be reached: ") for error in errors)


def test_a_second_collector_of_an_exchange_stops_at_once(market: Settings, feed: FeedServer) -> None:
    with (
        connect(market) as conn,
        lease(conn, "collect binance", seconds=60),
        Running(market, "binance") as running,
        pytest.raises(LeaseHeldError, match="the step collect binance runs already"),
    ):
        running.wait()


def test_a_lease_that_another_one_took_ends_collecting_with_all_sent(
    make_settings: Callable[..., Settings], feed: FeedServer, rest: BinanceRest, vendor: FaultProxy
) -> None:
    settings = make_settings(binance_url=vendor.url, binance_feed_url=feed.url, lease_seconds=5)
    with Running(settings, "binance", tuning=replace(QUICK, report=0.1)) as running:
        feed.wait_for(1)
        feed.say(agg_frame(1, now()))
        running.taken_in(1)
        rows(settings, "update ops.leases set epoch = epoch + 1 where name = 'collect binance' returning 1")
        with pytest.raises(FencedError):
            running.wait()
    assert ids(settings) == [1]


def test_a_warehouse_that_goes_away_stops_nothing_and_hears_all_afterwards(
    market: Settings, feed: FeedServer, rest: BinanceRest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(settings: Settings) -> None:
        raise NotRunningError("the warehouse does not answer")

    with Running(market, "binance") as running:
        feed.wait_for(1)
        running.caught_up()
        with monkeypatch.context() as patch:
            patch.setattr(reporting, "connect", refuse)
            feed.say("<html>", agg_frame(1, now()))
            running.taken_in(1)
            wait_until(lambda: running.collector.teller.totals.rows, 10, "a report is due")
        running.stop()
    assert ids(market) == [1]
    assert rows(market, "select sum(row_count)::int from ops.outcomes where step = 'collect'") == [(1,)]
    assert rows(market, "select reason from raw.rejected_events") == [("the frame is no JSON",)]


def test_what_can_be_collected(market: Settings) -> None:
    assert wanted([BTC, ETH], "binance", ["ETH-USD"], market) == [ETH]
    assert wanted([BTC, ETH], "kraken", [], market) == [BTC, ETH]
    with pytest.raises(ConfigError, match="binance has no id for AAPL; it has BTC-USD"):
        wanted([BTC], "binance", ["AAPL"], market)
    with pytest.raises(ConfigError, match="there is no feed of 'nasdaq'"):
        wanted([BTC], "nasdaq", [], market)
    with pytest.raises(ConfigError, match="no instrument has an id for binance"):
        wanted([], "binance", [], market)
    with pytest.raises(ConfigError, match="the feed of kraken has no bars that can be collected; it has trades"):
        Collector(market, "kraken", [BTC], ["bars"])
    with pytest.raises(ConfigError, match="quotes need trades beside them"):
        Collector(market, "binance", [BTC], ["quotes"])
    http = market.model_copy(update={"binance_feed_url": "https://stream.binance.com"})
    with pytest.raises(
        ConfigError, match=r"QUANTSTREAM_BINANCE_FEED_URL is 'https://.*'; .* begins with wss:// or ws://"
    ):
        Collector(http, "binance", [BTC])


def test_who_watches_sees_the_trades_come_and_the_end_begin(
    market: Settings, feed: FeedServer, rest: BinanceRest
) -> None:
    shown: list[Progress] = []
    with Running(market, "binance") as running:
        running.collector.on_progress = shown.append
        feed.wait_for(1)
        feed.say(agg_frame(1, now()))
        wait_until(lambda: any(one.rows == 1 and one.is_connected for one in shown), 10, "it is shown")
        running.stop()
    assert line(shown[-1]).startswith("binance: 1 events, 0/s, ")
    assert "stopping: what waits is sent, or stays on disk" in line(shown[-1])
