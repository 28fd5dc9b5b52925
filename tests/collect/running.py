"""A collector that runs beside the test, in a thread, and what came of it in the stream."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import orjson

from include.aws import client
from include.feeds.base import Stream
from include.feeds.line import Timing
from include.instruments import Instrument
from include.pipeline.collect import Collector, CollectReport
from include.pipeline.collector.telling import Tuning
from include.settings import Settings
from include.stream.aggregate import unpack
from include.stream.consumer import describe, read_batch
from include.warehouse.db import connect
from tests.conftest import wait_until

QUICK = Tuning(
    line=Timing(
        handshake=5.0, confirmation=5.0, ping_every=10.0, pong_within=10.0, overlap=0.1, first_pause=0.02,
        longest_pause=0.1, goodbye=0.5,
    ),
    flush=0.02, settle=0.1, fill_pause=0.05, stop=3.0, report=0.4, marks=0.05,
)  # fmt: skip


def instrument(symbol: str, **ids: str) -> Instrument:
    return Instrument(symbol, "crypto", "USD", "24/7", next(iter(ids)), ids)


BTC = instrument("BTC-USD", binance="BTCUSDT", coinbase="BTC-USD", kraken="XBTUSD")
ETH = instrument("ETH-USD", binance="ETHUSDT", coinbase="ETH-USD", kraken="ETHUSD")


class Running:
    """A collector at work, as a context manager; `stop` ends it and gives its report, or raises what it failed with."""

    def __init__(
        self,
        settings: Settings,
        exchange: str,
        instruments: Sequence[Instrument] = (BTC,),
        streams: Sequence[Stream] = ("trades",),
        tuning: Tuning = QUICK,
    ) -> None:
        self.collector = Collector(settings, exchange, instruments, streams, tuning=tuning)
        self.report: CollectReport | None = None
        self.error: BaseException | None = None
        self._stop = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def stop(self) -> CollectReport:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)
        return self.wait()

    def wait(self) -> CollectReport:
        """Until it ends by itself."""
        self._thread.join(30)
        assert not self._thread.is_alive(), "the collector does not stop"
        if self.error is not None:
            raise self.error
        assert self.report is not None
        return self.report

    def taken_in(self, count: int, seconds: float = 10) -> None:
        """Until the collector has taken in so many events."""
        wait_until(
            lambda: hasattr(self.collector, "intake") and self.collector.intake.total >= count,
            seconds, f"{count} events are taken in",
        )  # fmt: skip

    def caught_up(self, seconds: float = 10) -> None:
        """Until no time without a connection is left to be fetched."""
        wait_until(
            lambda: hasattr(self.collector, "intake") and not self.collector.intake.catch_ups, seconds, "it caught up"
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(30)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self.report = self._loop.run_until_complete(self.collector.run(self._stop))
        except BaseException as error:
            self.error = error
        finally:
            self._loop.close()


def rows(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    with connect(settings) as conn:
        return conn.execute(query).fetchall()


def streamed(settings: Settings) -> list[dict[str, Any]]:
    """All events in the stream, shard by shard, in order."""
    kinesis = client(settings, "kinesis")
    stream = describe(kinesis, settings.stream)
    found: list[dict[str, Any]] = []
    for shard in stream.shards:
        batch = read_batch(kinesis, stream.name, shard.shard_id, None, 100_000, 100_000_000)
        for record in batch.records:
            found += [orjson.loads(event) for event in unpack(record.data) or [record.data]]
    return found


def ids(settings: Settings, symbol: str = "BTC-USD") -> list[int]:
    """The ids of the trades in the stream, in order."""
    return [int(one["vendor_id"]) for one in streamed(settings) if one["symbol"] == symbol and one["kind"] == "trade"]
