"""What the tests of the stream's faults put into the Kinesis fake, and what they look at afterwards."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from include.aws import client
from include.events import Event
from include.lake import raw
from include.pipeline.cycle import process
from include.pipeline.land import land
from include.pipeline.load import load
from include.settings import Settings
from include.stream.producer import put_records
from include.warehouse.db import connect
from include.warehouse.leases import lease
from include.warehouse.ledger import accept, landed_loads
from tests.faults.kinesis import FakeKinesis

SYMBOLS = ("BTC-USD", "ETH-USD", "SOL-USD", "XRP-USD")
Fake = tuple[FakeKinesis, Settings]


class Killed(BaseException):
    """What stands for a SIGKILL inside this process."""


@contextmanager
def killed_at(name: str) -> Iterator[None]:
    """Whatever reaches the crash point `name` in the block dies there, and the block ends."""

    def crash_point(here: str) -> None:
        if here == name:
            raise Killed(name)

    with pytest.MonkeyPatch.context() as patch, suppress(Killed):
        for module in list(sys.modules.values()):
            if module.__name__.startswith("include.") and hasattr(module, "crash_point"):
                patch.setattr(module, "crash_point", crash_point)
        yield


def events(fake: FakeKinesis, *numbers: int) -> list[Event]:
    """Quotes of four symbols, one after the other, each with a price that tells it from all others."""
    now = datetime.fromtimestamp(fake.clock.time(), UTC) - timedelta(seconds=30)
    return [
        Event("simulator", "quote", SYMBOLS[n % 4], now + timedelta(milliseconds=n), "", {"price": 100 + n}, now)
        for n in numbers
    ]


def put(at: Fake, *numbers: int) -> None:
    fake, settings = at
    records = [(event.symbol, event.to_json()) for event in events(fake, *numbers)]
    report = put_records(client(settings, "kinesis"), settings.stream, records)
    assert not report.failed, report


def run(at: Fake) -> str:
    """Land, load and audit; what failed says why."""
    steps = process(at[1], only=("land", "load", "audit"))
    return "\n".join(step.said for step in steps if step.error)


def drain(at: Fake) -> None:
    """Land until nothing more comes, then load it all and accept every load as it is (an audit takes its time)."""
    for _ in range(30):
        if land(at[1]).records == 0:
            break
    else:
        pytest.fail("the stream never ran dry")
    load(at[1])
    accept_all(at[1])


def accept_all(settings: Settings) -> None:
    """What an audit that finds nothing does to the loads that wait for it."""
    with connect(settings) as conn, lease(conn, "audit", seconds=60) as held:
        for one in landed_loads(conn):
            accept(conn, held, one.load_id)


def query(at: Fake, sql: str) -> list[tuple[Any, ...]]:
    with connect(at[1]) as conn:
        return conn.execute(sql).fetchall()


def numbers_in(at: Fake) -> list[int]:
    """The numbers of the accepted rows; one that came in twice is here twice. The ledger has to say the same."""
    found = [int(n) for (n,) in query(at, "select (payload ->> 'price')::int - 100 from raw.market_events order by 1")]
    sums = query(at, "select coalesce(sum(inserted_count), 0), coalesce(sum(quarantined_count), 0) from ops.loads")
    assert sums == [(len(found), 0)]
    assert query(at, "select count(*) from raw.landed_events") == [(0,)]
    return found


def landed_order(at: Fake) -> dict[str, list[int]]:
    """The numbers of each symbol in the order in which they were landed, repeats included."""
    s3 = client(at[1], "s3")
    order: dict[str, list[int]] = {symbol: [] for symbol in SYMBOLS}
    keys = query(at, "select stream, s3_key from ops.stream_ranges where state <> 'lost' order by range_id")
    for key in [key for stream, key in keys if stream == at[1].stream]:
        for _, line in raw.read_lines(s3, at[1].bucket, key):
            event = orjson.loads(line)
            order[event["symbol"]].append(event["payload"]["price"] - 100)
    return order


def in_order(*parts: Sequence[int]) -> dict[str, list[int]]:
    return {symbol: [n for part in parts for n in part if n % 4 == place] for place, symbol in enumerate(SYMBOLS)}


def losses(at: Fake) -> tuple[list[str], list[tuple[str, str]]]:
    """What the outcomes and the operations alerts say of losses: their texts, and (rule, severity)."""
    said = [text for (text,) in query(at, "select error from ops.outcomes where not ok and step = 'land' order by 1")]
    return said, query(at, "select distinct rule, severity from marts.alerts where category = 'operations'")
