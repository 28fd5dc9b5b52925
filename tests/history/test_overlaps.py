"""Live minutes and history of the same time, however they overlap and are split, give the same marts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from include.commands.local_exchange import LocalExchange, serving
from include.errors import LeaseHeldError
from include.events import Window
from include.pipeline.audit import audit
from include.pipeline.backfill import backfill
from include.pipeline.land import land
from include.pipeline.load import load
from include.pipeline.pull import pull
from include.settings import Settings
from include.warehouse.checksums import Checksum, differences, mart_checksums
from include.warehouse.db import connect
from tests.conftest import Servers
from tests.history.vendor import DAY, MINUTE, MakeSettings, bars, day, picture, rows, warehouse_of_its_own
from tests.transform.marts import build

pytestmark = pytest.mark.stack

HOURS = 4
END = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
ALL = Window(END - timedelta(hours=HOURS), END)  # recent, as live minutes are
LIVE = Window(ALL.start + timedelta(hours=1), ALL.start + timedelta(hours=3))
MINUTES = [number for number in range(60 * HOURS) if number % 7]  # those without a trade are absent
SYMBOLS = ["BTC-USD", "ETH-USD"]


def hours(window: Window) -> list[Window]:
    hour = timedelta(hours=1)
    return [Window(window.start + number * hour, window.start + (number + 1) * hour) for number in range(HOURS)]


def whole(settings: Settings) -> None:
    backfill(settings, "binance", ALL, symbols=SYMBOLS)


def by_hours(settings: Settings) -> None:
    for window in Random(7).sample(hours(ALL), HOURS):
        backfill(settings, "binance", window, symbols=SYMBOLS)


def by_symbols_and_twice(settings: Settings) -> None:
    for symbol in SYMBOLS[::-1]:
        backfill(settings, "binance", ALL, symbols=[symbol])
    backfill(settings, "binance", ALL, symbols=SYMBOLS, reprocess=True)


def in_parallel(settings: Settings) -> None:
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda window: backfill(settings, "binance", window, symbols=SYMBOLS), hours(ALL)))


def live(settings: Settings) -> None:
    """What the minutes bring: each the bars of the last minutes, and then through the stream."""
    end = LIVE.start + MINUTE
    while end <= LIVE.end:
        pull(settings, "binance", Window(end - MINUTE, end))
        end += 2 * MINUTE
    land(settings)
    load(settings)
    audit(settings)


def checksums(settings: Settings) -> dict[str, Checksum]:
    while rows(settings, "select 1 from ops.loads where state = 'accepted' limit 1"):
        build(settings)
    with connect(settings) as conn:
        return mart_checksums(conn)


@pytest.fixture(scope="module")
def vendor() -> Iterator[str]:
    known = {"BTCUSDT": bars(ALL.start, MINUTES), "ETHUSDT": bars(ALL.start, MINUTES[::3], 7)}
    with serving(LocalExchange(bars=known)) as url:
        yield url


@pytest.fixture(scope="module")
def instruments(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("market") / "instruments.csv"
    file.write_text(
        "symbol,asset_class,currency,calendar,primary_source,binance\n"
        "BTC-USD,crypto,USD,24/7,binance,BTCUSDT\nETH-USD,crypto,USD,24/7,binance,ETHUSDT\n"
    )
    return str(file)


@pytest.fixture(scope="module")
def backfilled(servers: Servers, template_marts: str, vendor: str, instruments: str) -> dict[str, Checksum]:
    settings = warehouse_of_its_own(servers, template_marts, binance_url=vendor, instruments_file=instruments)
    whole(settings)
    found = checksums(settings)
    assert found["candles_1m"].rows == len(MINUTES) + len(MINUTES[::3])
    return found


CASES = [
    ("live first", whole), ("live first", by_hours), ("history first", whole),
    ("history first", by_symbols_and_twice), ("beside each other", in_parallel),
]  # fmt: skip


@pytest.mark.parametrize(("order", "split"), CASES, ids=lambda one: one if isinstance(one, str) else one.__name__)
def test_however_it_came_the_marts_are_equal(
    order: str, split: Callable[[Settings], None], make_history: MakeSettings, vendor: str, instruments: str,
    backfilled: dict[str, Checksum],
) -> None:  # fmt: skip
    settings = make_history(binance_url=vendor, instruments_file=instruments)
    if order == "beside each other":
        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(live, settings), pool.submit(split, settings)]:
                done.result()
    else:
        for part in (live, split) if order == "live first" else (split, live):
            part(settings)
    assert differences(backfilled, checksums(settings)) == []
    assert rows(settings, "select distinct is_live from ops.loads order by 1") == [(False,), (True,)]


def test_days_in_parallel_out_of_order_and_twice_end_like_one_after_the_other(
    servers: Servers, template_marts: str, make_history: MakeSettings
) -> None:
    known = {"BTCUSDT": bars(DAY, range(0, 30 * 1440, 61)), "ETHUSDT": bars(DAY, range(0, 30 * 1440, 301))}
    with serving(LocalExchange(bars=known)) as url:
        orderly, wild = make_history(binance_url=url), make_history(binance_url=url)
        backfill(orderly, "binance", Window(day(0).start, day(29).end), symbols=SYMBOLS)
        windows = [day(number) for number in range(30)] + [day(number) for number in range(0, 30, 5)]
        Random(3).shuffle(windows)
        busy: list[Window] = []

        def bring(window: Window) -> None:
            try:
                backfill(wild, "binance", window, symbols=SYMBOLS)
            except LeaseHeldError:
                busy.append(window)  # the same day twice at once

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(bring, windows))
    one, other = picture(orderly), picture(wild)
    assert one == other
    assert len(one["events"]) == len(known["BTCUSDT"]) + len(known["ETHUSDT"])
    assert not any(lines for what, lines in other.items() if " not " in what)
