"""Recorded feeds: `<epoch seconds>: <frame>` a line; what the client sent is marked `<-`, an opening `<->`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from include.feeds import make
from include.feeds.base import BadFrameError, Stream
from include.pipeline.collector.making import Maker
from include.sources.base import Batch, Rejected

BINANCE = {"NKNUSDT": "NKN-USDT", "BLZETH": "BLZ-ETH", "LRCBTC": "LRC-BTC", "RUNEEUR": "RUNE-EUR"}
COINBASE = {
    product: product
    for product in (
        "SKL-USD", "SKL-BTC", "BAND-GBP", "NMR-EUR", "BAND-BTC", "YFI-BTC", "DASH-BTC", "NU-GBP", "CRV-EUR", "SKL-GBP",
    )
}  # fmt: skip


def frames(path: Path) -> Iterator[tuple[datetime, str]]:
    """What the server sent, and when it arrived."""
    for line in path.read_text().splitlines():
        stamp, colon, frame = line.partition(": ")
        if colon and stamp.replace(".", "", 1).isdecimal():
            yield datetime.fromtimestamp(float(stamp), UTC), frame


def parsed(exchange: str, capture: Iterator[tuple[datetime, str]], symbols: Mapping[str, str]) -> Batch:
    """What a collector makes of each frame: events, and what goes to quarantine."""
    streams: tuple[Stream, ...] = ("trades", "bars", "quotes") if exchange == "binance" else ("trades",)
    feed, maker, batch = make(exchange, list(symbols), streams), Maker(exchange), Batch()
    for number, (received_at, raw) in enumerate(capture, start=1):
        try:
            for row in feed.parse(raw).rows:
                event = maker.event(row, symbols[row.vendor], received_at)
                if event is not None:
                    batch.events.append(event)
                    batch.lines.append(number)
        except (BadFrameError, ValueError) as error:
            batch.rejected.append(Rejected(number, str(error), raw.encode()))
    return batch
