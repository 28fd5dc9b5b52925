"""A platform that has lived for an hour: minutes, a file, a backfill, late and bad lines, and people's decisions."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

from include.errors import LoadRejectedError
from include.events import Event, Window
from include.instruments import register
from include.pipeline import keepsakes
from include.pipeline.audit import accept_rejected, audit
from include.pipeline.backfill import backfill
from include.pipeline.cycle import catch_up, process, run_cycle
from include.pipeline.gaps import find_gaps
from include.pipeline.lake_replay import replay_lake
from include.pipeline.land import land
from include.pipeline.load import load
from include.pipeline.replay import replay
from include.settings import Settings
from include.warehouse.db import connect
from tests.replay.minutes import query, send

TRADES = """\
seq,symbol,ts_utc,price,size
1,ZION,2013-10-07T08:00:00.614Z,13.94,500
2,ZION,2013-10-07T08:00:04.499Z,n/a,200
3,ZION,2013-10-07T08:01:10Z,13.95,100
4,ZION,2013-10-07T08:02:00Z,13.90,100
"""


def live(settings: Settings, folder: Path) -> None:
    """Everything that a warehouse can have in it, built and judged; the alerts are sent."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    assert not catch_up(settings, minutes=45, until=now - timedelta(minutes=2)).failures
    quotes = [
        _quote("BTC-USD", 101, now - timedelta(minutes=9), "late"),
        _quote("BTC-USD", 102, now - timedelta(hours=30), "far too late"),
        _quote("BTC-USD", 103, now + timedelta(hours=2), "from the future"),
        _quote("NEW-USD", 104, now - timedelta(minutes=3), "not known yet"),
        _quote("ETH-USD", -1, now - timedelta(minutes=3), "wrong"),
    ]
    send(settings, b"no json", *quotes)
    for back in (2, 1):
        window = Window(now - timedelta(minutes=back), now - timedelta(minutes=back - 1))
        assert not run_cycle(settings, window).failures

    file = folder / "trades.csv.gz"
    file.write_bytes(gzip.compress(TRADES.encode()))
    replay(settings, file, "trade", add_instruments="equity")
    assert not [step for step in process(settings, only=("land", "load", "audit")) if step.error]

    _accept_by_hand(settings, now)
    with connect(settings) as conn:
        register(conn, ["NEW-USD"], "crypto")
    keepsakes.keep(settings)  # as the daily upkeep does
    released = replay_lake(settings, Window(now - timedelta(hours=1), datetime.now(UTC)))
    assert released.released >= 1
    yesterday = (now - timedelta(days=1)).replace(hour=0, minute=0)
    backfill(settings, "simulator", Window(yesterday, yesterday + timedelta(hours=1)))
    steps = process(settings, only=("transform", "detect", "notify"))
    assert not [step for step in steps if step.error], steps
    find_gaps(settings)
    keepsakes.keep(settings)


def _accept_by_hand(settings: Settings, now: datetime) -> None:
    """A load of one symbol out of many is rejected; somebody knows why it is right, and brings it in."""
    send(settings, _quote("BTC-USD", 105, now - timedelta(minutes=1), "alone"))
    land(settings)
    load(settings)
    try:
        audit(settings)
    except LoadRejectedError:
        ((load_id,),) = query(settings, "select load_id from ops.loads where state = 'rejected'")
        accept_rejected(settings, load_id)


def _quote(symbol: str, price: float, at: datetime, vendor_id: str) -> Event:
    return Event("simulator", "quote", symbol, at, vendor_id, {"price": price}, datetime.now(UTC))
