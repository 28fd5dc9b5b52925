"""What a healthy source cannot bring is not asked of it: closed markets, those outside of its plan, old last prices."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from include import calendars
from include.errors import LoadRejectedError
from include.events import Event
from include.pipeline.audit import AuditReport, audit
from include.settings import Settings
from include.warehouse.db import connect
from tests.landing import add_load, event, quote

NOON = datetime(2026, 3, 3, 17, tzinfo=UTC)  # of a Tuesday, in New York
COINS = ["BTC-USD", "ETH-USD", "SOL-USD", "XRP-USD", "ADA-USD", "DOGE-USD", "AVAX-USD", "DOT-USD"]
SHARES = ["AAPL", "MSFT", "NVDA", "AMZN", "GOOGL", "TSLA", "JPM", "BAC", "XOM", "SPY"]

Make = Callable[..., Settings]


@pytest.fixture
def made(make_settings: Make, template_marts: str) -> Make:
    """Settings with dbt's views."""
    return lambda **overrides: make_settings(template=template_marts, **overrides)


def polygon(symbol: str, *, at: datetime = NOON, received_at: datetime | None = None) -> Event:
    return event("quote", symbol, {"lastTrade": {"p": 9}}, at=at, received_at=received_at, source="polygon")


def yahoo(symbol: str, at: datetime, received_at: datetime) -> Event:
    return event("quote", symbol, {"regularMarketPrice": 9}, at=at, received_at=received_at, source="yahoo")


def put(settings: Settings, *events: Event, **more: Any) -> int:
    with connect(settings) as conn:
        return add_load(conn, events, **more)


def reasons(settings: Settings) -> dict[tuple[str, str], str]:
    """The rule behind each row in quarantine, by source and symbol."""
    with connect(settings) as conn:
        found = conn.execute("select source, symbol, split_part(reason, ':', 1) from raw.rejected_events").fetchall()
    return {(source, symbol): reason for source, symbol, reason in found}


# --- known_symbols_are_present --------------------------------------------------------------------------------------


def test_a_key_for_shares_alone_is_healthy(made: Make) -> None:
    settings = made(sources=["polygon"])
    put(settings, *map(polygon, SHARES))
    assert audit(settings, now=NOON) == AuditReport(accepted=1, inserted=10)


def test_two_coins_beside_ten_shares_are_all_that_there_is_at_night(made: Make, tmp_path: Path) -> None:
    night = datetime(2026, 3, 3, 3, tzinfo=UTC)
    file = tmp_path / "instruments.csv"
    file.write_text(
        "symbol,asset_class,currency,calendar,primary_source,yahoo\n"
        + "".join(f"{symbol},equity,USD,XNYS,yahoo,{symbol}\n" for symbol in SHARES)
        + "".join(f"{symbol},crypto,USD,24/7,yahoo,{symbol}\n" for symbol in COINS[:2])
    )
    settings = made(sources=["yahoo"], instruments_file=file)
    put(settings, *(yahoo(symbol, night, night) for symbol in COINS[:2]))
    assert audit(settings, now=night) == AuditReport(accepted=1, inserted=2)


@pytest.mark.parametrize(
    ("brought", "share"),
    [
        pytest.param(COINS[:3], "0.2", id="3 of 15 coins"),
        pytest.param(SHARES[:4], "0.4", id="4 of 10 shares"),
        pytest.param([*SHARES, *COINS[:2]], "0.48", id="10 of 10 shares and 2 of 15 coins"),
    ],
)
def test_a_pull_that_brought_too_little_of_what_it_brought_at_all_is_rejected(
    made: Make, brought: list[str], share: str
) -> None:
    settings = made(sources=["polygon"])
    put(settings, *map(polygon, brought))
    with pytest.raises(LoadRejectedError, match=rf"known_symbols_are_present .+: polygon: {share}; the pull brought"):
        audit(settings, now=NOON)


def test_a_pull_of_symbols_that_the_source_has_no_id_for_is_rejected(made: Make) -> None:
    settings = made(sources=["coinbase"])
    put(settings, *(quote(symbol, 9, at=NOON, source="coinbase") for symbol in SHARES))
    with pytest.raises(LoadRejectedError, match=r"known_symbols_are_present .+: coinbase: 0.0;"):
        audit(settings, now=NOON)


def test_a_group_that_a_neighbour_brought_counts_as_brought(made: Make) -> None:
    settings = made(sources=["polygon"])
    put(settings, *map(polygon, SHARES))
    put(settings, polygon("BTC-USD"))
    with pytest.raises(LoadRejectedError) as caught:
        audit(settings, now=NOON)
    assert str(caught.value).count("known_symbols_are_present [") == 2  # 11 of 25, in whichever load one looks


def test_a_pull_of_shares_and_coins_over_three_loads_is_seen_whole(made: Make) -> None:
    settings = made(sources=["polygon"])
    for part in (SHARES[:4], [*SHARES[4:], COINS[0]], COINS[1:]):
        put(settings, *map(polygon, part))
    assert audit(settings, now=NOON) == AuditReport(accepted=3, inserted=18)


def test_what_is_collected_but_not_pulled_is_not_measured(made: Make) -> None:
    settings = made(sources=["simulator"])
    put(settings, event("quote", "BTC-USD", {"lastPrice": "60000"}, at=NOON, source="binance"))
    assert audit(settings, now=NOON) == AuditReport(accepted=1, inserted=1)


# --- live_event_is_not_too_old --------------------------------------------------------------------------------------

FRIDAY_CLOSE = datetime(2026, 3, 6, 21, tzinfo=UTC)
MONDAY_EARLY = datetime(2026, 3, 9, 12, tzinfo=UTC)  # 08:00 in New York, where the clocks went forward on Sunday
MONDAY_EVENING = datetime(2026, 3, 9, 20, 5, tzinfo=UTC)  # five minutes after the close


def test_before_the_opening_on_monday_the_last_price_is_of_friday(made: Make) -> None:
    settings = made(sources=["yahoo"], extended_hours=True, audit_max_bad_share=0.3)
    old, hour = FRIDAY_CLOSE - timedelta(days=1, seconds=1), timedelta(hours=1)
    put(
        settings,
        yahoo("AAPL", FRIDAY_CLOSE, MONDAY_EARLY),
        *(yahoo(symbol, FRIDAY_CLOSE - hour, MONDAY_EARLY) for symbol in SHARES[1:9]),  # nobody traded them since
        yahoo("SPY", old, MONDAY_EARLY),
        yahoo("ETH-USD", FRIDAY_CLOSE, MONDAY_EARLY),
        yahoo("GHOST", FRIDAY_CLOSE, MONDAY_EARLY),
        *(yahoo(symbol, MONDAY_EARLY, MONDAY_EARLY) for symbol in COINS[2:]),
    )
    assert audit(settings, now=MONDAY_EARLY) == AuditReport(accepted=1, inserted=15, quarantined=3)
    assert reasons(settings) == {
        ("yahoo", "SPY"): "live_event_is_not_too_old",
        ("yahoo", "ETH-USD"): "live_event_is_not_too_old",
        ("yahoo", "GHOST"): "symbol_is_known",
    }


def test_after_the_close_on_monday_a_vendor_of_evening_prices_still_tells_those_of_friday(made: Make) -> None:
    settings = made(sources=["alphavantage"])
    put(
        settings,
        *(
            event("quote", symbol, {"05. price": "9"}, at=FRIDAY_CLOSE, received_at=MONDAY_EVENING,
                  source="alphavantage")
            for symbol in SHARES
        ),
    )  # fmt: skip
    assert audit(settings, now=MONDAY_EVENING) == AuditReport(accepted=1, inserted=10)


def test_fresh_rows_never_load_the_calendars(made: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    calendars._year.cache_clear()
    calendars._schedule.cache_clear()
    monkeypatch.setitem(sys.modules, "exchange_calendars", None)  # importing it fails
    settings = made(sources=["yahoo"], audit_max_bad_share=0.5)
    put(settings, *(yahoo(symbol, NOON - timedelta(hours=24), NOON) for symbol in SHARES))
    old = put(settings, yahoo("AAPL", FRIDAY_CLOSE - timedelta(days=30), NOON), is_live=False)
    assert audit(settings, now=NOON) == AuditReport(accepted=1, inserted=10)
    assert audit(settings, loads=[old], now=NOON) == AuditReport(accepted=1, inserted=1)
    put(settings, yahoo("AAPL", NOON - timedelta(hours=25), NOON))
    with pytest.raises(ImportError):
        audit(settings, now=NOON)
