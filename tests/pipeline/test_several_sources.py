"""Several sources through transform and detection: what is found, once, whichever of them brought it."""

from __future__ import annotations

from datetime import datetime

import pytest

from include.events import Window
from include.pipeline.detect import detect, flags
from include.pipeline.transform import transform
from include.settings import Settings
from include.warehouse.db import connect
from tests.pipeline.candles import alerts
from tests.transform.events import accept, at, close

pytestmark = pytest.mark.stack
VENDORS = ("yahoo", "polygon", "alphavantage")


@pytest.fixture
def live(marts_settings: Settings) -> Settings:
    """The day of these closes is over: however old they are, their alerts are sent."""
    return marts_settings.model_copy(update={"sources": list(VENDORS), "alert_max_age_hours": 0.0})


def clock(minute: int) -> str:
    return f"10:{minute:02}"


def deliver(settings: Settings, prices: dict[str, list[float | None]], *, first: int = 0, until: int) -> int:
    """Closes of each source from minute `first` on, complete until the minute `until`; how many alerts are new."""
    events = [
        close(source, clock(first + n), price)
        for source, column in prices.items()
        for n, price in enumerate(column)
        if price is not None
    ]
    with connect(settings) as conn:
        accept(conn, events, dict.fromkeys(prices, at(clock(until))))
    transform(settings)
    return detect(settings).alerts


def test_a_source_that_disagrees_alerts_once_per_episode_and_its_end_says_nothing(live: Settings) -> None:
    good = [100.0, 100.0, 100.0, 100.0, 100.0]
    wrong = [100.0, 103.0, 103.0, 103.0, 103.0]
    assert deliver(live, {"yahoo": good, "polygon": good, "alphavantage": wrong}, until=5) == 1
    assert alerts(live) == ["AAPL 10:03 source_divergence up"]
    assert deliver(live, {vendor: [100.0, 100.0] for vendor in VENDORS}, first=5, until=7) == 0, "it recovered"
    found = flags(live, Window(at("10:00"), at("10:07")))
    assert [(row["rule"], row["source"], row["is_start"]) for row in found] == [
        ("source_divergence", "alphavantage", True),
        ("source_divergence", "alphavantage", False),
    ]


def test_an_episode_is_one_however_its_minutes_come(live: Settings) -> None:
    new = 0
    for minute in range(6):
        pair = {"yahoo": [100.0], "polygon": [103.0]}
        new += deliver(live, pair, first=minute, until=minute + 1)
    assert (new, alerts(live)) == (1, ["AAPL 10:02 source_divergence up"])
    assert deliver(live, {"alphavantage": [100.0]}, first=2, until=6) == 0, "a third one agrees with the first, late"
    assert len(alerts(live)) == 1


def test_what_was_found_on_a_fallback_is_not_found_again_on_the_primary(live: Settings) -> None:
    calm: list[float | None] = [100.0 + minute % 2 / 10 for minute in range(21)]
    assert deliver(live, {"polygon": [*calm, 100.6]}, until=22) >= 1
    found = alerts(live)
    assert "AAPL 10:21 zscore up" in found
    deliver(live, {"yahoo": [*calm, 100.6]}, until=22)
    assert alerts(live) == found
    assert sources(live, at("10:21")) == [("yahoo", False)]


def test_a_primary_that_fell_silent_does_not_stop_detection(live: Settings) -> None:
    calm: list[float | None] = [100.0 + minute % 2 / 10 for minute in range(21)]
    both = {"yahoo": [*calm, 100.05], "polygon": [*calm, 100.1, 100.6]}
    events = [close(source, clock(n), price) for source, prices in both.items() for n, price in enumerate(prices)]
    with connect(live) as conn:  # yahoo has begun the minute 10:21 and says nothing any more
        accept(conn, events, {"yahoo": at("10:21"), "polygon": at("10:23")})
    transform(live)
    assert detect(live).waiting == 0
    assert "AAPL 10:22 zscore up" in alerts(live)
    assert sources(live, at("10:21")) == [("polygon", True)]


def sources(settings: Settings, candle_start: datetime) -> list[tuple[object, ...]]:
    with connect(settings) as conn:
        return conn.execute(
            "select source, is_fallback from marts.indicators_1m where candle_start = %s", [candle_start]
        ).fetchall()
