"""Two vendors side by side, one of them faulty: the healthy one loses no minute, and the outcomes tell the story."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from include.errors import SourceError
from include.events import Window, iso
from include.pipeline import pull as pulling
from include.pipeline.land import land
from include.pipeline.load import load
from include.pipeline.pull import pull
from include.settings import Settings
from include.sources import crypto, http
from include.warehouse import vendors
from include.warehouse.db import connect
from include.warehouse.vendors import Breaker, VendorGate
from tests.faults.proxy import Answer, Change, Cut, Fault, FaultProxy, Forward, Hang, Request, Response
from tests.warehouse.vendor_time import pass_time

pytestmark = pytest.mark.stack

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
MINUTES: Final = [Window(NOON + timedelta(minutes=n), NOON + timedelta(minutes=n + 1)) for n in range(5)]
BROKEN: Final = MINUTES[1:4]  # the minutes in which one vendor is faulty
INSTRUMENTS = """symbol,asset_class,currency,calendar,primary_source,fallbacks,coingecko,coinbase
BTC-USD,crypto,USD,24/7,coinbase,coingecko,bitcoin,BTC-USD
ETH-USD,crypto,USD,24/7,coinbase,coingecko,ethereum,ETH-USD
"""


class Market:
    """What both vendors say of a minute: the price is its number."""

    def __init__(self) -> None:
        self.minute = MINUTES[0]

    def coingecko(self, request: Request) -> Any:
        at = iso(self.minute.start + timedelta(seconds=31))
        return [
            {"id": id, "current_price": self.minute.start.minute + 1, "last_updated": at}
            for id in ("bitcoin", "ethereum")
        ]

    def coinbase(self, request: Request) -> Any:
        price, at = self.minute.start.minute + 1, self.minute.start
        if "/candles" in request.path:
            return [[int(at.timestamp()), price, price, price, price, 1.5]]
        time = iso(at + timedelta(seconds=41))
        return {
            "trade_id": price,
            "price": str(price),
            "size": "1",
            "time": time,
            "bid": "1",
            "ask": "9",
            "volume": "7",
        }


class Says(Fault):
    """An honest vendor."""

    def __init__(self, say: Callable[[Request], Any]) -> None:
        self.say = say

    def act(self, request: Request, forward: Forward, closing: Any) -> Response:
        return Response(200, json.dumps(self.say(request)).encode(), (("Content-Type", "application/json"),))


FAULTS: Final = {
    "429": (Answer(429, b'{"error": "slow down"}'), "answered 429"),
    "500": (Answer(500, b"oops"), "answered 500"),
    "hangs": (Hang(), "no answer within 0.5 s"),
    "cuts off": (Cut(0.5), "the connection failed: peer closed connection"),
    "html": (Answer(200, b"<html>hello</html>", {"Content-Type": "application/json"}), "is no JSON but '<html>hello"),
    "another json": (Answer(200, b'"hello"', {"Content-Type": "application/json"}), "the answer is no list of"),
    "repeats itself": (Change(lambda said: replace(said, body=said.body * 2)), "holds more than one JSON document"),
}  # fmt: skip


@pytest.fixture
def market(monkeypatch: pytest.MonkeyPatch) -> Market:
    """Nobody waits; a circuit opens after two failures, for 90 seconds."""
    monkeypatch.setattr(http, "sleep", lambda pause: None)
    monkeypatch.setattr(http, "ATTEMPTS", 2)
    monkeypatch.setattr(crypto, "sleep", lambda pause: None)
    monkeypatch.setattr(pulling, "VendorGate", partial(VendorGate, breaker=Breaker(failures=2, cool_down=90)))
    return Market()


@pytest.fixture
def proxies(market: Market) -> Iterator[dict[str, FaultProxy]]:
    """Each vendor, behind a proxy that makes its faults."""
    with FaultProxy() as coingecko, FaultProxy() as coinbase:
        coingecko.add(Says(market.coingecko), times=None)
        coinbase.add(Says(market.coinbase), times=None)
        with FaultProxy(coingecko.url) as first, FaultProxy(coinbase.url) as second:
            yield {"coingecko": first, "coinbase": second}


@pytest.fixture
def settings(
    proxies: dict[str, FaultProxy],
    make_settings: Callable[..., Settings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Settings:
    file = tmp_path / "instruments.csv"
    file.write_text(INSTRUMENTS)
    settings = make_settings(
        instruments_file=file, sources=["coingecko", "coinbase"], http_timeout_seconds=10,
        coingecko_url=proxies["coingecko"].url, coinbase_url=proxies["coinbase"].url,
    )  # fmt: skip

    def wait(seconds: float) -> None:
        with connect(settings) as conn:
            pass_time(conn, seconds)

    monkeypatch.setattr(vendors, "sleep", wait)
    return settings


def pull_all(settings: Settings, minute: Window) -> None:
    """Both at once, each for itself, as the tasks of a run do."""

    def one(source: str) -> None:
        with suppress(SourceError):  # the task fails, the run goes on
            pull(settings, source, minute)

    with ThreadPoolExecutor(2) as tasks:
        list(tasks.map(one, settings.sources))


def story(settings: Settings, source: str) -> list[tuple[str, str]]:
    """What the outcomes tell of a source: (minute or "circuit", what happened)."""
    with connect(settings) as conn:
        rows = conn.execute(
            "select step, window_start, ok, error, detail from ops.outcomes where source = %s order by outcome_id",
            [source],
        ).fetchall()
    return [
        ("circuit", detail["circuit"]) if step == "vendor" else (f"{start:%H:%M}", "fine" if ok else error)
        for step, start, ok, error, detail in rows
    ]


def loaded(settings: Settings, source: str) -> dict[str, int]:
    """Quotes in the warehouse by minute."""
    with connect(settings) as conn:
        rows = conn.execute(
            "select to_char(event_time, 'HH24:MI'), count(*) from raw.landed_events "
            "where source = %s and kind = 'quote' group by 1 order by 1",
            [source],
        )
        return {str(minute): int(count) for minute, count in rows}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("healthy", "faulty"), [("coingecko", "coinbase"), ("coinbase", "coingecko")])
def test_no_minute_of_the_healthy_vendor_is_missing(
    settings: Settings, market: Market, proxies: dict[str, FaultProxy], healthy: str, faulty: str, fault: str
) -> None:
    does, reason = FAULTS[fault]
    if fault == "hangs":
        settings = settings.model_copy(update={"http_timeout_seconds": 0.5})
    proxies[faulty].add(does, where=lambda request: market.minute in BROKEN, times=None)
    for market.minute in MINUTES:
        pull_all(settings, market.minute)
        with connect(settings) as conn:
            pass_time(conn, 60)
    land(settings)
    load(settings)

    assert loaded(settings, healthy) == {"12:00": 2, "12:01": 2, "12:02": 2, "12:03": 2, "12:04": 2}
    assert story(settings, healthy) == [(f"{minute.start:%H:%M}", "fine") for minute in MINUTES]

    assert loaded(settings, faulty) == {"12:00": 2, "12:04": 2}
    (first, second, opened, third, refused, closed, last) = story(settings, faulty)
    assert (first, last) == (("12:00", "fine"), ("12:04", "fine"))
    assert (second[0], third[0], refused[0]) == ("12:01", "12:02", "12:03")
    assert reason in second[1]
    assert reason in third[1]
    assert (opened, closed) == (("circuit", "open"), ("circuit", "closed"))
    assert refused[1].startswith(f"CircuitOpenError: {faulty} is left alone since")
