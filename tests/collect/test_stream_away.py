"""Kinesis is away, refuses, or forgets to answer: what came waits on disk and leaves in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from include.pipeline import collect as collect_module
from include.pipeline.collect import spool_folder
from include.pipeline.collector.outlet import Outlet
from include.settings import Settings
from include.stream.aggregate import aggregate
from include.stream.spool import Spool
from include.warehouse.db import connect
from tests.collect.running import BTC, ETH, QUICK, Running, ids, rows, streamed
from tests.collect.vendors import BinanceRest, agg_frame, agg_trade, now
from tests.conftest import wait_until
from tests.faults.proxy import Answer, Fault, FaultProxy, LoseAnswer, RefuseRecords, Reset, behind
from tests.faults.websocket import FeedServer
from tests.stream.helpers import refusal, single_shot


@pytest.fixture
def aws(market: Settings) -> Iterator[FaultProxy]:
    """A proxy in front of the local AWS."""
    with FaultProxy(market.aws_endpoint_url) as proxy:
        yield proxy


@pytest.fixture
def through(market: Settings, aws: FaultProxy, rest: BinanceRest, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose AWS is behind `aws`, asked without retries of the client's own: a refusal shows at once."""
    monkeypatch.setattr(collect_module, "client", single_shot)
    return behind(market, aws)


def say(feed: FeedServer, *numbers: int, vendor: str = "BTCUSDT") -> None:
    feed.say(*[agg_frame(number, now(), vendor) for number in numbers])


AWAY: dict[str, Callable[[], Fault]] = {
    "answers 500": lambda: Answer(500, b"{}"),
    "throttles": lambda: refusal("ProvisionedThroughputExceededException"),
    "breaks connections": Reset,
    "is not there": lambda: refusal("ResourceNotFoundException"),
}


@pytest.mark.parametrize("fault", AWAY.values(), ids=AWAY.keys())
def test_while_it_is_away_trades_wait_on_disk_and_leave_in_order_when_it_is_back(
    through: Settings, aws: FaultProxy, feed: FeedServer, fault: Callable[[], Fault]
) -> None:
    with Running(through, "binance") as running:
        feed.wait_for(1)
        say(feed, 1, 2, 3)
        wait_until(lambda: running.collector.outlet.taken == 3, 10, "three are in the stream")
        aws.add(fault(), operation="PutRecords", times=None)
        for number in range(4, 54):
            say(feed, number)
        running.taken_in(53)
        wait_until(lambda: running.collector.outlet.waiting == 50, 10, "all of them are on disk")
        query = "select 1 from ops.outcomes where step = 'collect' and not ok and error like '%stream takes nothing%'"
        wait_until(lambda: rows(through, query), 10, "it is said")
        aws.clear()
        say(feed, 54)
        wait_until(lambda: running.collector.outlet.taken == 54, 10, "all are in the stream")
        report = running.stop()
    assert ids(through) == list(range(1, 55))
    assert (report.sent, report.left) == (54, 0)


def test_what_is_left_at_the_end_is_sent_at_the_next_start(
    through: Settings, aws: FaultProxy, feed: FeedServer
) -> None:
    aws.add(Answer(500, b"{}"), operation="PutRecords", times=None)
    with Running(through, "binance") as running:
        feed.wait_for(1)
        say(feed, 1, 2, 3)
        running.taken_in(3)
        report = running.stop()
    assert (report.sent, report.left) == (0, 3)
    assert str(report).startswith("binance: 3 events taken in, 0 sent, 3 left on disk for the next start\nthe stream ")
    aws.clear()
    with Running(through, "binance") as running:
        wait_until(lambda: len(ids(through)) == 3, 10, "they are in the stream")
        report = running.stop()
    assert ids(through) == [1, 2, 3]
    assert (report.rows, report.sent, report.left) == (0, 3, 0)


def test_a_refused_record_is_put_again_before_later_ones_of_its_symbol(
    through: Settings, aws: FaultProxy, feed: FeedServer
) -> None:
    aws.add(RefuseRecords((0,)), operation="PutRecords", times=3)
    with Running(through, "binance", [BTC, ETH]) as running:
        feed.wait_for(1)
        for number in range(1, 40):
            say(feed, number)
            say(feed, number, vendor="ETHUSDT")
        running.taken_in(78)
        running.stop()
    assert ids(through) == ids(through, "ETH-USD") == list(range(1, 40))


def test_an_acknowledgement_that_got_lost_means_twice_not_never(
    through: Settings, aws: FaultProxy, feed: FeedServer
) -> None:
    aws.add(LoseAnswer(), operation="PutRecords", times=1)
    with Running(through, "binance") as running:
        feed.wait_for(1)
        say(feed, 1, 2, 3)
        running.taken_in(3)
        running.stop()
    assert sorted(set(ids(through))) == [1, 2, 3] and len(ids(through)) > 3
    payloads = {(one["vendor_id"], one["received_at"], str(one["payload"])) for one in streamed(through)}
    assert len(payloads) == 3, "equal to the byte, so the load drops the second"


def test_a_full_spool_stops_the_reader_not_the_collector_and_somebody_is_told(
    through: Settings, aws: FaultProxy, feed: FeedServer
) -> None:
    aws.add(Answer(500, b"{}"), operation="PutRecords", times=None)
    with Running(through, "binance", tuning=replace(QUICK, spool_bytes=4_000)) as running:
        feed.wait_for(1)
        for number in range(1, 101):
            say(feed, number)
        with connect(through) as conn:
            query = "select message from marts.alerts where rule = 'spool_full'"
            wait_until(lambda: conn.execute(query).fetchall(), 10, "somebody is alerted")
        aws.clear()
        wait_until(lambda: running.collector.outlet.taken == 100, 15, "all are in the stream")
        running.stop()
    assert ids(through) == list(range(1, 101))


def test_what_did_not_come_to_disk_by_the_end_is_fetched_at_the_next_start(
    through: Settings, aws: FaultProxy, feed: FeedServer, rest: BinanceRest
) -> None:
    aws.add(Answer(500, b"{}"), operation="PutRecords", times=None)
    trades = [agg_trade(number, now()) for number in range(1, 41)]
    with Running(through, "binance", tuning=replace(QUICK, spool_bytes=4_000, stop=0.5)) as running:
        feed.wait_for(1)
        running.caught_up()
        rest.trades += trades
        say(feed, *range(1, 31))
        wait_until(lambda: bool(running.collector.outlet.spool_trouble), 10, "the disk is full")
        say(feed, *range(31, 41))  # wait behind those that wait for the disk
        running.taken_in(40)
        report = running.stop()
    assert 0 < report.left < 30 and report.unwritten == 40 - report.left
    assert f"{report.unwritten} not on disk, which the next start fetches" in str(report)
    with connect(through) as conn:
        told = conn.execute("select error from ops.outcomes where error like '%did not come to disk%'").fetchall()
    assert [error.partition(" events")[0] for (error,) in told] == [str(report.unwritten)]
    aws.clear()
    with Running(through, "binance") as running:
        wait_until(lambda: sorted(set(ids(through))) == list(range(1, 41)), 10, "all are in the stream")
        running.stop()


def test_damage_of_the_spool_is_an_outcome(through: Settings, feed: FeedServer) -> None:
    folder = spool_folder(through, "binance")
    with Spool(folder) as spool:
        spool.append([("BTC-USD", b"one"), ("BTC-USD", b"two")])
    (segment,) = folder.glob("*.log")
    content = bytearray(segment.read_bytes())
    content[-1] ^= 0xFF
    segment.write_bytes(content)
    with Running(through, "binance") as running:
        feed.wait_for(1)
        running.stop()
    with connect(through) as conn:
        (error,) = conn.execute("select error from ops.outcomes where not ok and window_start is null").fetchone() or ()
    assert "cannot be read and are in 00000001.20.damaged" in error


def test_a_record_that_no_stream_takes_goes_to_quarantine_and_holds_nothing_up(
    through: Settings, tmp_path: object
) -> None:
    rejected: list[str] = []
    with Spool(spool_folder(through, "other")) as spool:
        outlet = Outlet(single_shot(through), through.stream, spool, lambda one: rejected.append(one.reason))
        assert (
            outlet._send(aggregate([("a", b"x" * 2_000_000), ("", b"no key"), ("b", b'{"symbol":"b","kind":"quote"}')]))
            == []
        )
    assert rejected == [
        "the record has 2,000,000 bytes, more than the stream's 1,048,576",
        "its symbol cannot be a partition key",
    ]
    assert [one["symbol"] for one in streamed(through)] == ["b"]
