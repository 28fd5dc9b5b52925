"""The connection, against a server that misbehaves: made again, renewed in time, and never asked for too often."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

import pytest

from include.feeds import make
from include.feeds.base import Feed, Frame
from include.feeds.line import Line, Timing
from tests.collect.running import QUICK
from tests.collect.vendors import agg_frame, coinbase, heartbeat, kraken, match, now
from tests.conftest import free_port, wait_until
from tests.faults.websocket import FeedServer, Refuse, Slow


class Held:
    """A line that runs beside the test; it notes all that it is told."""

    def __init__(self, feed: Feed, url: str, **timing: float) -> None:
        defaults = {name: getattr(QUICK.line, name) for name in Timing.__slots__}
        self.line = Line(feed, url, self, Timing(**(defaults | timing)))
        self.said: list[str] = []
        self.ids: list[int | None] = []
        self._stop = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    async def frame(self, frame: Frame, received_at: datetime) -> None:
        self.ids += [row.number for row in frame.rows]

    async def misfit(self, raw: bytes, reason: str, received_at: datetime) -> None:
        self.said.append(f"misfit {raw[:20]!r}: {reason}")

    def connected(self, *, unbroken: bool) -> None:
        self.said.append("renewed" if unbroken else "connected")

    def disconnected(self, why: str) -> None:
        self.said.append(f"disconnected: {why}")

    def refused(self, vendor: str, said: str) -> None:
        self.said.append(f"refused {vendor}: {said}")

    def hears(self, count: int) -> None:
        wait_until(lambda: len(self.ids) >= count, 10, f"{count} trades arrive; so far {self.ids}, {self.said}")

    def says(self, text: str) -> None:
        wait_until(
            lambda: any(text in one for one in [*self.said, self.line.trouble]), 10, f"{text}; so far {self.said}"
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive(), "the line does not end"

    def _run(self) -> None:
        self._loop.run_until_complete(self.line.run(self._stop))
        self._loop.close()


def binance() -> Feed:
    return make("binance", ["BTCUSDT"], ["trades"])


def short_lived(seconds: float) -> Feed:
    feed = binance()
    feed.lifetime = timedelta(seconds=seconds)  # type: ignore[misc]
    return feed


def test_trades_arrive_and_a_stop_unsubscribes() -> None:
    with FeedServer() as server:
        with Held(binance(), server.url) as held:
            server.wait_for(1)
            server.say(agg_frame(1, now()), agg_frame(2, now()))
            held.hears(2)
        wait_until(lambda: server.closed == [1000], 5, "the connection is closed properly")
        assert server.paths == ["/stream?streams=btcusdt@aggTrade"]
        assert server.heard == ['{"method":"UNSUBSCRIBE","params":["btcusdt@aggTrade"],"id":1}']


def test_the_servers_pings_are_answered() -> None:
    with FeedServer() as server, Held(binance(), server.url) as held:
        server.wait_for(1)
        server.ping()
        server.say(agg_frame(1, now()))
        held.hears(1)
        assert held.said == ["connected"]


FAULTS: dict[str, Callable[[FeedServer], None]] = {
    "is cut off within a frame": FeedServer.cut,
    "is closed by the server at its 24 hours": lambda server: server.close(1001, "24 hours"),
    "is closed because of too many requests": lambda server: server.close(1008, "Too many requests"),
    "gets no pong": FeedServer.stop_reading,
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_connection_that_ends_is_made_again(fault: Callable[[FeedServer], None]) -> None:
    with FeedServer() as server, Held(binance(), server.url, ping_every=0.2, pong_within=0.3) as held:
        server.wait_for(1)
        server.say(agg_frame(1, now()))
        held.hears(1)
        fault(server)
        server.wait_for(2)
        server.say(agg_frame(2, now()), to=-1)
        held.hears(2)
        assert held.said[0] == "connected" and held.said[1].startswith("disconnected: the connection ended: ")
        assert held.said[2] == "connected"


def test_a_silent_connection_is_given_up() -> None:
    feed = make("coinbase", ["BTC-USD"], ["trades"])
    feed.quiet_seconds = 0.2  # type: ignore[misc]
    with FeedServer(answer=coinbase) as server, Held(feed, server.url) as held:
        server.wait_for(2)
        held.says("disconnected: no frame for 0.2 s")


@pytest.mark.parametrize(
    ("handshake", "said"),
    [
        (Refuse(503), "the handshake was refused with HTTP 503"),
        (Slow(1.0), "no handshake within 0.2 s"),
    ],
    ids=["refused", "slow"],
)
def test_a_handshake_that_fails_is_tried_again(handshake: Refuse | Slow, said: str) -> None:
    with FeedServer() as server:
        server.handshakes += [handshake]
        with Held(binance(), server.url, handshake=0.2) as held:
            held.says(said)
            server.wait_for(1)
            assert server.attempts == 2


def test_nobody_listens_and_then_somebody_does() -> None:
    with FeedServer() as server:
        server.go_away()
        with Held(binance(), server.url) as held:
            held.says("cannot be reached: ")
            server.come_back()
            server.wait_for(1)


def test_a_vendor_that_asks_for_a_break_gets_it() -> None:
    with FeedServer() as server:
        server.handshakes += [Refuse(429, {"Retry-After": "1"})]
        with Held(binance(), server.url) as held:
            held.says("HTTP 429")
            began = asyncio.new_event_loop().time()
            server.wait_for(1)
            assert asyncio.new_event_loop().time() - began > 0.8


def test_breaks_grow_stay_above_the_vendors_least_and_begin_anew_after_a_good_connection() -> None:
    async def pauses() -> list[float]:
        from include.feeds.line import _Session

        line = Line(make("kraken", ["XBTUSD"], ["trades"]), "ws://x", held := Held(binance(), "ws://x"), Timing())
        failed = _Session(began=asyncio.get_running_loop().time())
        found = [line.pause(failed) for _ in range(9)]
        good = _Session(began=asyncio.get_running_loop().time() - 61)
        good.ready.set()
        assert held.said == []
        return [*found, line.pause(good)]

    first, *later, again = asyncio.run(pauses())
    assert first <= 0.5 and again <= 0.5
    assert all(5.0 <= pause <= 60.0 for pause in later) and later[-1] >= 30.0


def test_a_connection_is_renewed_before_its_end_and_both_stand_for_a_while() -> None:
    feed = short_lived(1.0)
    with FeedServer() as server, Held(feed, server.url, renew_early=0.7, overlap=0.3) as held:
        server.wait_for(1)
        server.say(agg_frame(1, now()))
        server.wait_for(2)
        assert server.open == 2
        server.say(agg_frame(2, now()))
        held.hears(3)
        assert held.ids == [1, 2, 2], "each connection brought it"
        assert held.said == ["connected", "renewed"]
        wait_until(lambda: server.closed[:1] == [1000], 5, "the old one is left properly")


def test_a_server_that_says_it_will_go_is_left_at_once() -> None:
    with FeedServer() as server, Held(binance(), server.url) as held:
        server.wait_for(1)
        server.say('{"e":"serverShutdown","E":1767355200000}')
        server.wait_for(2)
        held.says("renewed")


def test_a_renewal_that_fails_keeps_the_old_connection() -> None:
    with FeedServer() as server, Held(binance(), server.url) as held:
        server.wait_for(1)
        server.handshakes += [Refuse(503)]
        server.say('{"e":"serverShutdown","E":1767355200000}')
        wait_until(lambda: server.attempts == 2, 10, "a renewal is tried")
        server.say(agg_frame(1, now()))
        held.hears(1)
        assert held.said == ["connected"]


def test_a_subscription_is_confirmed_before_the_line_counts_as_connected() -> None:
    with FeedServer() as server, Held(make("coinbase", ["BTC-USD"], ["trades"]), server.url) as held:
        server.wait_for(1)
        wait_until(lambda: server.heard, 5, "it asks")
        assert held.said == []
        server.say(*coinbase(server.heard[0]))
        held.says("connected")


def test_a_subscription_that_nobody_confirms_is_a_failed_attempt() -> None:
    feed = make("kraken", ["XBTUSD", "ETHUSD"], ["trades"])
    with FeedServer() as server, Held(feed, server.url, confirmation=0.2) as held:
        held.says("the subscription of ETHUSD, XBTUSD was not confirmed")
        server.wait_for(2)


@pytest.mark.parametrize(
    ("exchange", "answer", "bad", "good", "said"),
    [
        ("coinbase", coinbase, "PLUTO-USD", "BTC-USD", "Failed to subscribe: PLUTO-USD is not a valid product"),
        ("kraken", kraken, "PLUTOUSD", "XBTUSD", "Currency pair not supported PLUTO/USD"),
    ],
)
def test_one_instrument_that_the_vendor_refuses_does_not_take_the_others_along(
    exchange: str, answer: Callable[[str], list[str]], bad: str, good: str, said: str
) -> None:
    with FeedServer(answer=answer) as server, Held(make(exchange, [bad, good], ["trades"]), server.url) as held:
        held.says("connected")
        assert held.said == [f"refused {bad}: {said}", "connected"]


def test_a_vendor_that_refuses_everything_is_asked_again_later() -> None:
    with FeedServer(answer=lambda message: ['{"type":"error","message":"too many requests"}']) as server:
        feed = make("coinbase", ["BTC-USD"], ["trades"])
        with Held(feed, server.url) as held:
            held.says("the vendor refused the subscription: too many requests")
            wait_until(lambda: server.connects >= 2, 10, "it asks again")


def test_krakens_connection_is_kept_alive_with_pings_of_its_own() -> None:
    feed = make("kraken", ["XBTUSD"], ["trades"])
    with FeedServer(answer=kraken) as server, Held(feed, server.url, ping_every=0.1) as held:
        held.says("connected")
        wait_until(lambda: '{"method":"ping"}' in server.heard, 5, "it pings")
        assert not [one for one in held.said if "misfit" in one]


def test_what_cannot_be_read_is_told_and_the_next_frame_is_read() -> None:
    with FeedServer(answer=coinbase) as server, Held(make("coinbase", ["BTC-USD"], ["trades"]), server.url) as held:
        held.says("connected")
        server.say("<html>busy</html>", b"\xff\xfe", '{"type":"level9"}', match(1, now()), heartbeat(1, now()))
        held.hears(1)
        assert held.said[1:] == [
            "misfit b'<html>busy</html>': the frame is no JSON",
            "misfit b'\\xff\\xfe': the frame is no JSON",
            "misfit b'{\"type\":\"level9\"}': a frame of the type 'level9' was not asked for",
        ]


def test_an_address_that_is_none_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with Held(binance(), "http://not-a-feed") as held:
        held.says("the address of the feed is wrong")
    with Held(binance(), f"ws://127.0.0.1:{free_port()}") as held:
        held.says("cannot be reached: ")
