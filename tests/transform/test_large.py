"""A hundred thousand events in any order: by checksums of all marts, as a full refresh makes them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random

from include.events import Event
from include.settings import Settings
from include.warehouse.checksums import differences, mart_checksums
from include.warehouse.db import connect
from tests.transform.events import DAY, accept, event
from tests.transform.marts import build, rebuild

SYMBOLS = ("AAPL", "MSFT", "BTC-USD", "ETH-USD")
MINUTES = 500  # from 17:00 over the close of XNYS and midnight
TRADES = 48  # of a symbol in a minute


def trades(chance: Random) -> list[Event]:
    """A hundred thousand trades, of them one in fifty exact repeats and one in fifty revisions of the price."""
    found = []
    for symbol in SYMBOLS:
        price = 100.0
        for number in range(MINUTES * TRADES):
            price = round(price * (1 + chance.gauss(0, 1e-4)), 4)
            time = DAY + timedelta(hours=17, seconds=number * 60 / TRADES)
            found.append(
                event("trade", symbol, time, {"price": price, "size": chance.randrange(9)}, vendor_id=f"{number}")
            )
    again = [replace(one, received_at=one.received_at + timedelta(seconds=2)) for one in chance.sample(found, 2_000)]
    revised = [
        replace(one, payload=one.payload | {"price": 100.0}, received_at=one.received_at + timedelta(seconds=5))
        for one in chance.sample(found, 2_000)
    ]
    return found + again + revised


def test_a_hundred_thousand_events_in_any_order_end_in_the_marts_of_a_full_refresh(marts_settings: Settings) -> None:
    chance = Random(5)
    events = trades(chance)
    chance.shuffle(events)
    assert len(events) == 100_000
    complete = {"replay": DAY + timedelta(hours=25)}  # the last minutes are not final
    with connect(marts_settings) as conn:
        for start, end in ((0, 80_000), (80_000, 100_000)):
            accept(conn, events[start:end], complete)
            build(marts_settings)
        piecewise = mart_checksums(conn)
        assert [piecewise[mart].rows for mart in ("trades", "candles_1m", "indicators_1m")] == [96_000, 2_000, 2_000]
        rebuild(marts_settings)
        assert differences(piecewise, mart_checksums(conn)) == []
