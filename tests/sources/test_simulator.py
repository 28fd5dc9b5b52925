"""The simulated market: a function of seed, symbol and minute, and recognisably a market."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.events import Event, Window
from include.instruments import Instrument, load_instruments
from include.settings import ROOT, Settings
from include.sources import make
from include.sources.noise import keys, walk
from include.sources.shocks import labels
from include.sources.simulator import Simulator

INSTRUMENTS = load_instruments(ROOT / "dbt" / "seeds" / "instruments.csv")
SYMBOLS = [instrument.symbol for instrument in INSTRUMENTS]
DAY = datetime(2026, 3, 14, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

Content = tuple[str, datetime, str]


def quotes(
    start: datetime, minutes: int, instruments: tuple[Instrument, ...] = INSTRUMENTS, seed: int = 7
) -> list[Event]:
    source = Simulator(Settings(_env_file=None, simulator_seed=seed))
    batches = source.fetch(Window(start, start + minutes * MINUTE), instruments)
    return [event for batch in batches for event in batch.events]


def content(events: list[Event]) -> list[Content]:
    """What a quote says, without when we asked."""
    return sorted((event.symbol, event.event_time, str(event.payload)) for event in events)


def test_a_quote_is_dated_in_the_last_second_of_its_minute_and_says_what_a_vendor_says() -> None:
    events = quotes(DAY, 1)
    assert {event.symbol for event in events} == set(SYMBOLS)
    for event in events:
        assert timedelta(seconds=59) <= event.event_time - DAY < MINUTE
        assert (event.source, event.kind, event.vendor_id, event.complete_until) == (
            "simulator", "quote", "", DAY + MINUTE,
        )  # fmt: skip
        assert list(event.payload) == ["price", "bid", "ask", "previous_close", "day_volume"]
        assert 0 < event.payload["bid"] <= event.payload["price"] <= event.payload["ask"]


@settings(max_examples=25, deadline=None)
@given(
    start=st.integers(0, 3 * 1440),
    parts=st.lists(st.integers(1, 90), min_size=1, max_size=6),
    chosen=st.lists(st.sampled_from(INSTRUMENTS), min_size=1, unique=True),
)
def test_any_split_of_a_window_and_any_choice_of_symbols_gives_the_same_quotes(
    start: int, parts: list[int], chosen: list[Instrument]
) -> None:
    begin = DAY + start * MINUTE
    whole: dict[str, list[Content]] = {symbol: [] for symbol in SYMBOLS}
    for one in content(quotes(begin, sum(parts))):
        whole[one[0]].append(one)
    split = []
    for part in parts:
        split += quotes(begin, part, tuple(chosen))
        begin += part * MINUTE
    assert content(split) == sorted(one for instrument in chosen for one in whole[instrument.symbol])


@settings(max_examples=25, deadline=None)
@given(start=st.integers(0, 5000), first=st.integers(1, 300), second=st.integers(1, 300))
def test_the_labels_of_two_windows_are_those_of_both_together(start: int, first: int, second: int) -> None:
    a = DAY + start * MINUTE
    b, c = a + first * MINUTE, a + (first + second) * MINUTE
    apart = set(labels(7, SYMBOLS, Window(a, b))) | set(labels(7, SYMBOLS, Window(b, c)))
    assert apart == set(labels(7, SYMBOLS, Window(a, c)))


def test_another_seed_is_another_market() -> None:
    assert content(quotes(DAY, 3, seed=7)) != content(quotes(DAY, 3, seed=8))


def test_an_hour_at_a_time_is_complete_up_to_its_own_end() -> None:
    ends = {(event.event_time.hour, event.complete_until) for event in quotes(DAY + 30 * MINUTE, 75)}
    assert ends == {(0, DAY + 60 * MINUTE), (1, DAY + 105 * MINUTE)}


def test_previous_close_is_the_price_at_midnight() -> None:
    last = {event.symbol: event.payload["price"] for event in quotes(DAY - MINUTE, 1)}
    for event in quotes(DAY, 1) + quotes(DAY + 1439 * MINUTE, 1):
        assert event.payload["previous_close"] == last[event.symbol]


def test_day_volume_grows_and_starts_again_at_midnight() -> None:
    by_symbol: dict[str, list[float]] = {}
    for event in quotes(DAY, 2 * 1440, INSTRUMENTS[:3]):
        by_symbol.setdefault(event.symbol, []).append(event.payload["day_volume"])
    for volumes in by_symbol.values():
        steps = np.diff(volumes)
        assert (steps < 0).sum() == 1, "once, at midnight"
        assert volumes[0] < max(volumes) / 50


def test_every_hour_of_the_25_instruments_has_several_price_shocks() -> None:
    for seed in (0, 7, 99):
        found = labels(seed, SYMBOLS, Window(DAY, DAY + timedelta(days=14)))
        shocks = [label for label in found if label.shock in ("price_spike", "crash")]
        assert all(label.size is not None and 0.07 <= abs(label.size) <= 0.12 for label in shocks)
        by_hour = [0] * (14 * 24)
        for label in shocks:
            by_hour[int((label.starts_at - DAY) / timedelta(hours=1))] += 1
        assert min(by_hour) >= 3
        per_day = len(found) / 14 / len(SYMBOLS)
        assert 4 <= per_day <= 8, f"{per_day:.1f} shocks per instrument and day"


def test_shocks_stay_inside_their_hour_one_per_symbol() -> None:
    found = labels(7, SYMBOLS, Window(DAY, DAY + timedelta(days=5)))
    for label in found:
        hour = label.starts_at.replace(minute=0)
        assert hour < label.starts_at < label.ends_at < hour + timedelta(hours=1)
    assert len({(label.symbol, label.starts_at.replace(minute=0)) for label in found}) == len(found)
    assert {label.shock for label in found} == {
        "price_spike", "crash", "volume_shock", "frozen_feed", "gap", "malformed_row",
    }  # fmt: skip


def test_two_hours_hold_prices_that_detection_must_find() -> None:
    for hour in range(0, 48, 7):
        start = DAY + timedelta(hours=hour, minutes=17 * hour % 60)
        far = [
            abs(event.payload["price"] / event.payload["previous_close"] - 1)
            for event in quotes(start, 120)
            if isinstance(event.payload.get("price"), float) and event.payload["price"] > 0
        ]
        assert sum(change > 0.06 for change in far) >= 2


@pytest.mark.parametrize("shock", ["price_spike", "crash", "volume_shock", "frozen_feed", "gap", "malformed_row"])
def test_a_label_is_seen_in_the_quotes(shock: str) -> None:
    label = next(one for one in labels(7, SYMBOLS, Window(DAY, DAY + timedelta(days=7))) if one.shock == shock)
    length = (label.ends_at - label.starts_at) // MINUTE
    only = tuple(one for one in INSTRUMENTS if one.symbol == label.symbol)
    before = quotes(label.starts_at - MINUTE, 1, only)[0].payload
    during = [event.payload for event in quotes(label.starts_at, length, only)]
    after = quotes(label.ends_at, 1, only)[0].payload
    if shock == "gap":
        assert during == []
    elif shock == "malformed_row":
        assert not (isinstance(during[0].get("price"), float) and during[0]["price"] > 0)
        assert after["price"] > 0
    elif shock == "frozen_feed":
        assert all(payload == before for payload in during)
        assert after != before
    elif shock == "volume_shock":
        assert label.size is not None
        usual = before["day_volume"] - quotes(label.starts_at - 2 * MINUTE, 1, only)[0].payload["day_volume"]
        assert during[0]["day_volume"] - before["day_volume"] > 3 * usual
    else:
        assert label.size is not None
        assert during[0]["price"] / before["price"] - 1 == pytest.approx(label.size, abs=0.01)
        assert after["price"] / before["price"] - 1 == pytest.approx(0, abs=0.02)


def test_returns_do_not_follow_themselves_and_there_are_quiet_and_nervous_times() -> None:
    level = walk(keys("own", 7, each=SYMBOLS[:5]), np.arange(29_000_000, 29_000_000 + 6 * 1440 + 1))
    returns = np.diff(level)
    assert np.abs([np.corrcoef(row[1:], row[:-1])[0, 1] for row in returns]).max() < 0.15
    assert 0.5 < returns.std() < 2.5
    by_six_hours = np.abs(returns.reshape(5, -1, 360)).mean(axis=2)
    assert (by_six_hours.max(axis=1) / by_six_hours.min(axis=1)).min() > 1.5


def test_instruments_move_together_those_of_a_class_most() -> None:
    names = ("BTC-USD", "ETH-USD", "SPY")
    chosen = tuple(one for one in INSTRUMENTS if one.symbol in names)
    closes: dict[str, list[float]] = {symbol: [] for symbol in names}
    for event in quotes(DAY, 20 * 1440, chosen):
        if event.event_time.minute == 59:  # never inside a shock
            closes[event.symbol].append(event.payload["price"])
    btc_eth, btc_spy, _ = np.corrcoef([np.diff(np.log(closes[symbol])) for symbol in names])[np.triu_indices(3, 1)]
    assert 0.15 < btc_spy < btc_eth < 0.9


def test_unlisted_instruments_are_simulated_too_and_a_thousand_of_them_take_little_time() -> None:
    many = tuple(
        Instrument(f"X{n:04}", ("crypto", "equity")[n % 2], "USD", "", "simulator", {"simulator": f"X{n:04}"})
        for n in range(1000)
    )
    quotes(DAY, 1, many[:1])
    start = time.process_time()
    events = quotes(DAY, 1, many)
    minute = time.process_time() - start
    assert len(events) == 1000
    assert minute < 0.3
    start = time.process_time()
    quotes(DAY, 120)
    assert time.process_time() - start < 1


def test_instruments_without_an_id_for_the_simulator_are_left_out() -> None:
    others = (Instrument("BTCUSD", "crypto", "USD", "24/7", "replay", {"replay": "BTCUSD"}),)
    assert quotes(DAY, 1, others) == []


def test_the_registry_makes_it_by_name() -> None:
    assert isinstance(make("simulator", Settings(_env_file=None)), Simulator)
