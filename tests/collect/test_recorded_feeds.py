"""The recorded feeds, played by a server of ours: as they were, and by one that misbehaves on purpose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from include.feeds import make
from include.settings import Settings
from tests.collect.captures import BINANCE, COINBASE, frames
from tests.collect.running import Running, instrument, streamed
from tests.collect.vendors import coinbase
from tests.conftest import wait_until
from tests.faults.proxy import Answer, FaultProxy
from tests.faults.websocket import FeedServer


@pytest.mark.parametrize(
    ("exchange", "capture", "symbols", "trades"),
    [("binance", "BINANCE.ws.1.0", BINANCE, 2), ("coinbase", "COINBASE.ws.28.0", COINBASE, 107)],
)
def test_a_recorded_feed_is_collected_whole(
    exchange: str, capture: str, symbols: dict[str, str], trades: int,
    make_settings: Callable[..., Settings], vendor: FaultProxy, shared_data: Path,
) -> None:  # fmt: skip
    """The capture is of 2021, so REST is not asked for what lies between then and now: nothing comes before it."""
    vendor.add(Answer(200, b"[]", {"Content-Type": "application/json"}), times=None)
    said = [frame for _, frame in frames(shared_data / "payloads" / "ws_captures" / capture)]
    instruments = [instrument(symbol, **{exchange: vendor_id}) for vendor_id, symbol in symbols.items()]
    with FeedServer(answer=coinbase if exchange == "coinbase" else lambda message: ()) as server:
        settings = make_settings(**{f"{exchange}_feed_url": server.url, f"{exchange}_url": vendor.url})
        with Running(settings, exchange, instruments) as running:
            server.wait_for(1)
            running.caught_up()
            server.say(*[frame for frame in said if '"subscriptions"' not in frame])
            running.taken_in(trades)
            report = running.stop()
    assert (report.rows, report.sent, report.left) == (trades, trades, 0)
    confirmations = sum('"subscriptions"' in frame for frame in said)
    assert report.counts.rejected == len(said) - trades - confirmations, "all else was not asked for"
    found = [(one["symbol"], one["vendor_id"]) for one in streamed(settings)]
    feed = make(exchange, list(symbols), ["trades"])
    expected = [
        (symbols[row.vendor], str(row.number))
        for frame in said
        if '"aggTrade"' in frame or "match" in frame
        for row in feed.parse(frame).rows
    ]
    assert sorted(found) == sorted(expected)


def test_a_recorded_feed_that_is_cut_closed_repeated_and_garbled_is_collected_whole_and_once(
    make_settings: Callable[..., Settings], vendor: FaultProxy, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("include.sources.coinbase.Coinbase.spacing", 0.0)
    vendor.add(Answer(200, b"[]", {"Content-Type": "application/json"}), times=None)
    path = shared_data / "payloads" / "ws_captures" / "COINBASE.ws.28.0"
    said = [frame for _, frame in frames(path) if '"match"' in frame or '"last_match"' in frame]
    first, second, third, fourth = (said[place : place + 27] for place in range(0, 108, 27))
    instruments = [instrument(symbol, coinbase=symbol) for symbol in COINBASE]
    with FeedServer(answer=coinbase) as server:
        settings = make_settings(coinbase_feed_url=server.url, coinbase_url=vendor.url)
        with Running(settings, "coinbase", instruments) as running:

            def play(part: list[str], connection: int, so_far: int) -> None:
                server.wait_for(connection)
                collector = running.collector
                wait_until(
                    lambda: collector.line.connects == connection and collector.intake.is_connected, 10, "it subscribed"
                )
                server.say(*part)
                running.taken_in(so_far)

            play(first, 1, 27)
            server.cut()  # in the middle of a frame
            play(["<html>busy</html>", *first, *second], 2, 54)  # all is said again
            server.close(1001, "24 hours")
            play([*reversed(third), second[0]], 3, 81)  # in another order
            play([frame for frame in fourth for _ in range(3)], 3, 107)  # each three times
            running.caught_up()
            report = running.stop()
    assert (report.rows, report.sent, report.left) == (107, 107, 0)
    assert (report.counts.duplicates, report.counts.rejected, report.counts.reconnects) == (27 + 1 + 2 * 26, 1, 2)
    feed = make("coinbase", list(COINBASE), ["trades"])
    expected = [(row.vendor, str(row.number)) for frame in said for row in feed.parse(frame).rows]
    assert sorted((one["symbol"], one["vendor_id"]) for one in streamed(settings)) == sorted(expected)
