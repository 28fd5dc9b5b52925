"""What a backfill would ask for, before it does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.errors import ConfigError
from include.events import Kind, Window
from include.instruments import load_instruments
from include.pipeline.backfill import backfill, plan
from include.sources import HISTORY, NAMES, make
from include.sources.base import Calls
from tests.history.vendor import DAY, ONE_DAY, MakeSettings, bars, day, exchange

pytestmark = pytest.mark.stack

KEYS = {"alphavantage_api_key": "key", "polygon_api_key": "key", "polygon_plan": "advanced"}
NOW = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
MONTH = Window(NOW - timedelta(days=100), NOW - timedelta(days=70))
RECENT = Window(NOW - timedelta(days=2), NOW - timedelta(days=1))


def test_days_with_what_is_missing_in_each_against_the_budget(make_history: MakeSettings) -> None:
    three_days = Window(DAY, DAY + 3 * ONE_DAY)
    with exchange(bars={"BTCUSDT": bars(DAY, range(5)), "ETHUSDT": bars(DAY, range(5))}) as (local, url):
        settings = make_history(binance_url=url, vendor_budgets={"binance": "48/day"}, history_live_share=0.5)
        backfill(settings, "binance", day(1), symbols=["BTC-USD", "ETH-USD"])
        calls = local.calls
        found = plan(settings, "binance", three_days, symbols=["BTC-USD", "ETH-USD", "ADA-USD"])
        assert local.calls == calls, "it asks nobody"
    assert [(one.window, one.covered, one.closed, one.calls) for one in found.days] == [
        (day(0), (), (), Calls(6, 12)),
        (day(1), ("BTC-USD", "ETH-USD"), (), Calls(2, 4)),
        (day(2), (), (), Calls(6, 12)),
    ]
    assert found.days[1].missing == (("ADA-USD", day(1)),)
    assert found.calls == Calls(14, 28)
    assert (found.room.day_limit, found.room.day_left) == (24, 16)
    assert found.days_today == 2
    assert found.minutes == 0.0, "6000 weights a minute"


def test_the_calls_for_trades_are_not_known_before(make_history: MakeSettings) -> None:
    found = plan(make_history(), "binance", day(0), kind="trade", symbols=["BTC-USD"])
    assert (found.calls, found.days[0].calls, found.days_today) == (None, None, 1)


def test_closed_days_and_days_that_nobody_has_yet_are_no_days_to_ask_for(make_history: MakeSettings) -> None:
    settings = make_history()
    sunday = plan(settings, "yahoo", day(6), symbols=["AAPL", "MSFT"])
    assert (sunday.days[0].closed, sunday.days[0].missing, sunday.calls) == (("AAPL", "MSFT"), (), Calls(0, 0))
    with pytest.raises(ConfigError, match="ask for a window that begins before that, or wait"):
        plan(settings, "yahoo", Window(NOW + ONE_DAY, NOW + 2 * ONE_DAY))


EXPECTED: dict[tuple[str, Kind, Window], Calls | None] = {
    ("binance", "bar", MONTH): Calls(44, 88),
    ("coinbase", "bar", MONTH): Calls(145, 145),
    ("kraken", "bar", RECENT): Calls(1, 1),
    ("yahoo", "bar", MONTH): Calls(1, 1),
    ("yahoo", "bar", RECENT): Calls(1, 1),
    ("yahoo", "action", MONTH): Calls(1, 1),
    ("alphavantage", "bar", MONTH): Calls(1, 1),
    ("polygon", "bar", MONTH): Calls(1, 1),
    ("polygon", "trade", MONTH): None,
    ("coinbase", "trade", MONTH): None,
    ("kraken", "trade", MONTH): None,
    ("coingecko", "quote", MONTH): Calls(1, 1),
    ("simulator", "quote", MONTH): Calls(0, 0),
}


@pytest.mark.parametrize(("source", "kind", "window"), EXPECTED)
def test_what_an_instrument_takes_in_calls(source: str, kind: Kind, window: Window, make_history: MakeSettings) -> None:
    settings = make_history(**KEYS)
    (bitcoin,) = [one for one in load_instruments(settings.instruments_file) if one.symbol == "BTC-USD"]
    vendor = make(source, settings)
    assert vendor.history_calls(window, [bitcoin], kind) == EXPECTED[source, kind, window]


@pytest.mark.parametrize("source", NAMES)
def test_the_kinds_of_history_are_those_that_a_source_can_be_asked_for(source: str, make_history: MakeSettings) -> None:
    settings = make_history(**KEYS)
    vendor = make(source, settings)
    instruments = [one for one in load_instruments(settings.instruments_file) if source in one.ids][:1]
    kinds: list[Kind] = ["quote", "trade", "bar", "action"]
    for kind in kinds:
        if kind in HISTORY[source]:
            vendor.history(RECENT, instruments, kind)
            assert vendor.history_until(RECENT, kind, NOW) <= NOW
        else:
            with pytest.raises(ConfigError, match=f"{source} has no history of {kind}s"):
                vendor.history(RECENT, instruments, kind)


def test_daily_bars_are_whole_a_day_later(make_history: MakeSettings) -> None:
    settings = make_history(**KEYS)
    free, yahoo = make("alphavantage", settings), make("yahoo", settings)
    assert free.history_until(RECENT, "bar", NOW) == NOW - ONE_DAY
    assert yahoo.history_until(RECENT, "bar", NOW) == NOW, "bars of a minute"
    assert yahoo.history_until(MONTH, "bar", NOW) == NOW - ONE_DAY, "bars of a day"
