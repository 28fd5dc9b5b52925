"""`quantstream collect` as a process: stopped by SIGTERM, killed, started again; counts in = counts out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from include.pipeline.collect import spool_folder
from include.pipeline.cycle import process as process_steps
from include.settings import ROOT, Settings
from tests.collect.running import ids, rows
from tests.collect.vendors import BinanceRest, agg_frame, agg_trade, now
from tests.conftest import make_aws, wait_until
from tests.faults.proxy import Answer, FaultProxy, behind
from tests.faults.websocket import FeedServer

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(market: Settings) -> Iterator[Start]:
    """Starts the command for Binance's BTC-USD, with the settings in its environment."""
    started: list[subprocess.Popen[str]] = []

    def start(settings: Settings = market, *options: str) -> subprocess.Popen[str]:
        assert settings.warehouse_dsn is not None
        make_aws()
        given = {
            "HOME": settings.home, "WAREHOUSE_DSN": settings.warehouse_dsn.get_secret_value(),
            "STREAM": settings.stream, "AWS_ENDPOINT_URL": settings.aws_endpoint_url,
            "BINANCE_URL": settings.binance_url, "BINANCE_FEED_URL": settings.binance_feed_url, "ENV_FILE": "",
        }  # fmt: skip
        environment = os.environ | {f"QUANTSTREAM_{name}": str(value) for name, value in given.items()}
        command = [sys.executable, "-m", "include.cli", "collect", "binance", *(options or ("--symbols", "BTC-USD"))]
        process = subprocess.Popen(
            command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_sigterm_ends_it_with_everything_sent_and_the_next_start_brings_the_rest(
    market: Settings, start: Start, feed: FeedServer, rest: BinanceRest
) -> None:
    process = start()
    feed.wait_for(1, seconds=30)
    feed.say(*[agg_frame(number, now()) for number in range(1, 2001)])
    process.send_signal(signal.SIGTERM)  # while they are on their way
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    sent = ids(market)
    assert sent and sent == list(range(1, len(sent) + 1)), "in order, none missing within"
    assert out.startswith(f"binance: {len(sent):,} events taken in, {len(sent):,} sent")
    assert "include.pipeline" not in out
    assert feed.heard[-1].startswith('{"method":"UNSUBSCRIBE"')
    rest.trades += [agg_trade(number, now()) for number in range(1, 2001)]
    asked = len(rest.asked)
    process = start()
    feed.wait_for(2, seconds=30)
    wait_until(lambda: len(rest.asked) > asked and len(ids(market)) >= 2000, 40, "what came too late comes over REST")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert sorted(ids(market)) == list(range(1, 2001)), "none twice"


def test_a_killed_one_loses_nothing_that_it_had_spooled_nor_what_came_meanwhile(
    market: Settings, start: Start, feed: FeedServer, rest: BinanceRest
) -> None:
    with FaultProxy(market.aws_endpoint_url) as aws:
        aws.add(Answer(500, b"{}"), operation="PutRecords", times=None)
        process = start(behind(market, aws))
        feed.wait_for(1, seconds=30)
        trades = [agg_trade(number, now()) for number in range(1, 301)]
        feed.say(*[agg_frame(number, now()) for number in range(1, 201)])
        folder = spool_folder(market, "binance")
        wait_until(lambda: sum(path.stat().st_size for path in folder.glob("*.log")) > 50_000, 15, "they are on disk")
        process.kill()
        process.communicate()
    assert ids(market) == []
    rest.trades += trades  # a hundred more happened while nobody collected
    process = start()
    wait_until(lambda: set(ids(market)) == set(range(1, 301)), 40, "all are in the stream")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert ids(market)[:200] == list(range(1, 201)), "what was spooled comes first and in order"


def test_one_killed_between_sending_and_noting_it_sends_twice_and_the_load_drops_the_second(
    marts_settings: Settings, start: Start, feed: FeedServer, rest: BinanceRest, vendor: FaultProxy
) -> None:
    market = marts_settings.model_copy(update={"binance_url": vendor.url, "binance_feed_url": feed.url})
    at = now()
    rest.trades += [agg_trade(number, at) for number in range(1, 101)]
    process = start(market)
    feed.wait_for(1, seconds=30)
    feed.say(*[agg_frame(number, at) for number in range(1, 101)])
    wait_until(lambda: set(ids(market)) == set(range(1, 101)), 15, "they are in the stream")
    process.kill()
    process.communicate()
    folder = spool_folder(market, "binance")
    for name in ("position", "marks.json"):  # as if the machine had died before these were written
        (folder / name).unlink(missing_ok=True)
    process = start(market)
    feed.wait_for(2, seconds=30)
    wait_until(lambda: len(ids(market)) >= 200, 40, "they are sent again")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert set(ids(market)) == set(range(1, 101)) and len(ids(market)) >= 200
    assert [step.error for step in process_steps(market, only=("land", "load", "audit"))] == [None, None, None]
    query = "select count(*)::int, count(distinct vendor_id)::int from raw.market_events where source = 'binance'"
    assert rows(market, query) == [(100, 100)]


def test_it_says_what_is_wrong_with_its_options(market: Settings, start: Start) -> None:
    process = start(market, "--symbols", "AAPL,BTC-USD")
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "binance has no id for AAPL; it has BTC-USD, ETH-USD" in err
    process = start(market, "--streams", "trades,orders")
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err.strip()) == (2, "--streams orders: allowed are trades, bars, quotes")
