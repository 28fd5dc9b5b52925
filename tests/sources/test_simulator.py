"""The simulated market: a function of seed, symbol and minute, and recognisably a market."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.errors import ConfigError
from include.events import Event, Kind, Window
from include.instruments import Instrument, load_instruments
from include.settings import ROOT, Settings
from include.sources import ALWAYS_OPEN, NAMES, make
from include.sources.noise import keys, walk
from include.sources.shocks import labels
from include.sources.simulator import Simulator

INSTRUMENTS = load_instruments(ROOT / "dbt" / "seeds" / "instruments.csv")
SYMBOLS = [instrument.symbol for instrument in INSTRUMENTS]
DAY = datetime(2026, 3, 14, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

Content = tuple[str, datetime, str]


def fetch(
    window: Window, instruments: tuple[Instrument, ...] = INSTRUMENTS, kind: Kind | None = None, **overrides: object
) -> list[Event]:
    source = Simulator(Settings(_env_file=None, **overrides))
    return [event for batch in source.fetch(window, instruments, kind) for event in batch.events]


def quotes(
    start: datetime, minutes: int, instruments: tuple[Instrument, ...] = INSTRUMENTS, seed: int = 7
) -> list[Event]:
    return fetch(Window(start, start + minutes * MINUTE), instruments, simulator_seed=seed)


def trades(
    start: datetime,
    end: datetime,
    per_minute: int = 1000,
    instruments: tuple[Instrument, ...] = INSTRUMENTS,
    **overrides: object,
) -> list[Event]:
    window = Window(start, end)
    return fetch(window, instruments, "trade", simulator_trades_per_minute=per_minute, **overrides)


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


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


@pytest.mark.parametrize("cadence", [10, 30, 60])
def test_there_is_a_quote_for_every_step_of_the_cadence_in_its_last_second(cadence: int) -> None:
    bitcoin = INSTRUMENTS[:1]
    events = fetch(Window(DAY, DAY + MINUTE), bitcoin, cadence_seconds=cadence)
    assert len(events) == 60 // cadence
    for number, event in enumerate(events, start=1):
        assert seconds(number * cadence - 1) <= event.event_time - DAY < seconds(number * cadence)
    prices = [event.payload["price"] for event in events]
    assert len(set(prices)) == len(prices), "the price moves inside the minute"
    assert sorted(event.payload["day_volume"] for event in events) == [event.payload["day_volume"] for event in events]


@settings(max_examples=25, deadline=None)
@given(
    cadence=st.sampled_from([10, 30]),
    start=st.integers(0, 20_000),
    parts=st.lists(st.integers(1, 300), min_size=1, max_size=6),
)
def test_at_any_cadence_any_split_gives_the_same_quotes_and_those_of_the_minutes_ends_are_the_usual_ones(
    cadence: int, start: int, parts: list[int]
) -> None:
    """Windows in seconds, as they come: not even aligned."""
    begin = at = DAY + seconds(start)
    split = []
    for part in parts:
        split += fetch(Window(at, at + seconds(part)), cadence_seconds=cadence)
        at += seconds(part)
    assert content(split) == content(fetch(Window(begin, at), cadence_seconds=cadence))
    usual = fetch(Window(begin, at), cadence_seconds=60)
    both = {one for one in content(split) if one[1] <= at} & {one for one in content(usual) if one[1] <= at}
    assert len(both) == sum(event.event_time <= at and event.event_time - begin >= seconds(59) for event in usual)


def test_a_frozen_feed_repeats_its_last_quote_at_every_step() -> None:
    label = next(one for one in labels(7, SYMBOLS, Window(DAY, DAY + timedelta(days=7))) if one.shock == "frozen_feed")
    only = tuple(one for one in INSTRUMENTS if one.symbol == label.symbol)
    before = fetch(Window(label.starts_at - MINUTE, label.starts_at), only, cadence_seconds=10)
    during = fetch(Window(label.starts_at, label.ends_at), only, cadence_seconds=10)
    assert len(during) == 6 * ((label.ends_at - label.starts_at) // MINUTE)
    assert all(event.payload == before[-1].payload for event in during)


def test_without_the_setting_there_are_no_trades() -> None:
    assert trades(DAY, DAY + MINUTE, per_minute=0) == []
    assert {event.kind for event in quotes(DAY, 1)} == {"quote"}


def test_a_trade_has_an_id_a_price_inside_the_market_a_size_and_a_side() -> None:
    events = fetch(Window(DAY, DAY + MINUTE), INSTRUMENTS[:1], simulator_trades_per_minute=1000)
    *traded, quote = events
    assert {(event.source, event.kind) for event in traded} == {("simulator", "trade")}
    assert quote.kind == "quote"
    for event in traded:
        assert list(event.payload) == ["id", "price", "size", "side"]
        assert event.vendor_id == str(event.payload["id"])
        assert DAY <= event.event_time < DAY + MINUTE
        assert event.payload["price"] == pytest.approx(quote.payload["price"], rel=0.005)
        assert event.payload["size"] > 0
    assert {event.payload["side"] for event in traded} == {"buy", "sell"}
    last = {event.payload["side"]: event.payload["price"] for event in traded if event.event_time >= DAY + seconds(59)}
    assert {"buy": quote.payload["ask"], "sell": quote.payload["bid"]}.items() >= last.items()


@pytest.mark.parametrize("per_minute", [1, 7, 25, 1000, 10_001])
def test_all_instruments_together_have_the_number_set(per_minute: int) -> None:
    start = next(  # a minute in which no feed is silent
        at
        for at in (DAY + n * MINUTE for n in range(600))
        if not any(one.shock in ("gap", "frozen_feed") for one in labels(7, SYMBOLS, Window(at, at + MINUTE)))
    )
    found = trades(start, start + MINUTE, per_minute)
    assert len(found) == per_minute
    by_symbol = [sum(event.symbol == symbol for event in found) for symbol in SYMBOLS]
    assert max(by_symbol) - min(by_symbol) <= 1


def test_who_gets_the_trades_that_do_not_divide_changes_by_the_minute() -> None:
    assert len({event.symbol for event in trades(DAY, DAY + 60 * MINUTE, per_minute=1)}) > 10


@settings(max_examples=25, deadline=None)
@given(
    start=st.integers(0, 3 * 86_400_000_000),
    parts=st.lists(st.integers(1, 100_000_000), min_size=1, max_size=5),
    chosen=st.lists(st.sampled_from(INSTRUMENTS), min_size=1, unique=True),
)
def test_any_split_of_a_window_and_any_choice_of_symbols_gives_the_same_trades(
    start: int, parts: list[int], chosen: list[Instrument]
) -> None:
    """Windows in microseconds."""
    begin = at = DAY + timedelta(microseconds=start)
    split = []
    for part in parts:
        end = at + timedelta(microseconds=part)
        split += trades(at, end, instruments=tuple(chosen))
        at = end
    names = {one.symbol for one in chosen}
    assert content(split) == content([event for event in trades(begin, at) if event.symbol in names])


def test_ids_rise_with_time_and_are_unique_per_symbol() -> None:
    found = trades(DAY + 30 * MINUTE, DAY + 95 * MINUTE, per_minute=500)
    for symbol in SYMBOLS:
        ids = [event.payload["id"] for event in found if event.symbol == symbol]
        assert ids == sorted(set(ids))
    times = [event.event_time for event in found]
    assert times == sorted(times)


def test_a_minutes_trades_add_up_to_what_the_days_volume_grew() -> None:
    for symbol in (INSTRUMENTS[0], INSTRUMENTS[-1]):
        before, after = quotes(DAY + 5 * MINUTE, 2, (symbol,))
        sizes = [event.payload["size"] for event in trades(DAY + 6 * MINUTE, DAY + 7 * MINUTE, instruments=(symbol,))]
        assert sum(sizes) == pytest.approx(after.payload["day_volume"] - before.payload["day_volume"], abs=0.02)


@pytest.mark.parametrize("shock", ["gap", "frozen_feed"])
def test_a_silent_feed_has_no_trades(shock: str) -> None:
    label = next(one for one in labels(7, SYMBOLS, Window(DAY, DAY + timedelta(days=7))) if one.shock == shock)
    only = tuple(one for one in INSTRUMENTS if one.symbol == label.symbol)
    assert trades(label.starts_at, label.ends_at, instruments=only) == []
    assert trades(label.ends_at, label.ends_at + MINUTE, instruments=only) != []


def test_a_hundred_thousand_trades_take_less_than_two_seconds_events_included() -> None:
    trades(DAY, DAY + MINUTE, per_minute=100)
    started = time.process_time()
    assert len(trades(DAY + 17 * MINUTE, DAY + 18 * MINUTE, per_minute=100_000)) > 90_000
    assert time.process_time() - started < 2


def test_an_answer_holds_a_bounded_number_of_trades() -> None:
    source = Simulator(Settings(_env_file=None, simulator_trades_per_minute=100_000))
    sizes = [len(batch.events) for batch in source.fetch(Window(DAY, DAY + MINUTE), INSTRUMENTS)]
    assert max(sizes) == 20_000


def test_it_has_a_history_of_quotes_and_trades_only() -> None:
    minute = Window(DAY, DAY + MINUTE)
    assert content(fetch(minute, kind="quote", simulator_trades_per_minute=1000)) == content(quotes(DAY, 1))
    with pytest.raises(ConfigError, match="simulator has no history of bars; it has trades and quotes"):
        fetch(minute, kind="bar")


def test_instruments_without_an_id_for_the_simulator_are_left_out() -> None:
    others = (Instrument("BTCUSD", "crypto", "USD", "24/7", "replay", {"replay": "BTCUSD"}),)
    assert quotes(DAY, 1, others) == []


def test_the_registry_makes_it_by_name() -> None:
    assert isinstance(make("simulator", Settings(_env_file=None)), Simulator)


def test_the_registry_knows_which_sources_never_close() -> None:
    keys = {"alphavantage_api_key": "key", "polygon_api_key": "key"}
    sources = {name: make(name, Settings(_env_file=None, **keys)) for name in NAMES}
    assert {name for name, source in sources.items() if source.always_open} == ALWAYS_OPEN
