"""What counts as covered while answers come in: never more than what is there, whenever it stops."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import hypothesis.strategies as st
import pytest
from hypothesis import given

from include.events import Event, Window
from include.pipeline.history.tally import Tally
from include.sources.base import Batch, Order, Rejected
from tests.history.vendor import DAY

HOUR = Window(DAY, DAY + timedelta(hours=1))
IDS = {"A": "a", "B": "b", "C": "c"}


def minute(number: float) -> datetime:
    return DAY + timedelta(minutes=number)


def answer(symbol: str, *minutes: float, complete_until: datetime | None = None) -> Batch:
    events = [Event("binance", "trade", symbol, minute(at), str(at), {}, DAY, complete_until) for at in minutes]
    return Batch(events, list(range(len(events))))


def tally(order: Order, *batches: Batch, ended: bool = False) -> Tally:
    one = Tally(order, IDS, HOUR)
    for batch in batches:
        one.take(batch)
    if ended:
        one.end()
    return one


def told(one: Tally) -> list[tuple[str, float, float, str]]:
    """(symbol, first minute, minute after the last, how it ended) of what is covered."""
    return [
        (cover.symbol, (cover.start - DAY) / timedelta(minutes=1), (cover.until - DAY) / timedelta(minutes=1),
         cover.ended)
        for cover in one.covers()
    ]  # fmt: skip


def test_an_instrument_is_covered_as_far_as_its_events_reach_and_as_a_whole_when_the_next_one_comes() -> None:
    one = tally("forward", answer("A", 1, 20))
    assert told(one) == [("A", 0, 20, "events")]
    one.take(answer("C", 5))
    assert told(one) == [("A", 0, 60, "events"), ("B", 0, 60, "empty"), ("C", 0, 5, "events")]
    one.end()
    assert told(one) == [("C", 0, 60, "events")]
    assert one.empty == ["B"]


def test_what_comes_backwards_is_covered_from_behind_but_not_at_the_instant_it_reached() -> None:
    one = tally("backward", answer("A", 50, 40), answer("A", 40, 30))
    assert told(one) == [("A", pytest.approx(30, abs=1e-6), 60, "events")]
    assert told(one) == [], "it is told once"


def test_all_together_are_covered_up_to_where_the_answer_says_else_to_its_first_minute() -> None:
    assert told(tally("together", answer("A", 10.5, 12), answer("B", 10.7, 11))) == [
        ("A", 0, 10, "events"), ("B", 0, 10, "events"), ("C", 0, 10, "empty"),
    ]  # fmt: skip
    whole = answer("B", 10, complete_until=minute(30))
    assert told(tally("together", whole)) == [("A", 0, 30, "empty"), ("B", 0, 30, "events"), ("C", 0, 30, "empty")]


def test_a_refusal_is_an_answer_once_the_others_before_it_are_there() -> None:
    one = tally("forward", answer("A", 1, 20), Batch(refused={"B": "unknown"}))
    assert told(one) == [("A", 0, 20, "events")], "more of A may be on its way"
    one.take(answer("C", 5))
    assert told(one)[:2] == [("A", 0, 60, "events"), ("B", 0, 60, "refused")]


def test_what_is_unfinished_is_not_covered_beyond_what_was_there_before() -> None:
    lost_page = Batch(unfinished={"A": "the answer is no list"})
    one = tally("forward", answer("A", 1, 20), lost_page, answer("A", 30, 40), answer("B", 5), ended=True)
    assert told(one) == [("A", 0, 20, "events"), ("B", 0, 60, "events"), ("C", 0, 60, "empty")]
    assert one.left == ["A"]


def test_an_instrument_of_which_no_row_is_an_event_is_not_covered_as_empty() -> None:
    bad = Batch(rejected=[Rejected(1, "open is null", b"{}", "bar", "B")])
    one = tally("forward", bad, ended=True)
    assert told(one) == [("A", 0, 60, "empty"), ("C", 0, 60, "empty")]
    assert one.unfinished == {"B": "nothing of what it answered about B is an event: open is null"}


TIMES = st.lists(st.integers(0, 59), max_size=12).map(sorted)
MARKETS = st.fixed_dictionaries(dict.fromkeys(IDS, TIMES))


def pages(market: dict[str, list[int]], missing: list[tuple[str, Window]], order: Order, size: int) -> Iterator[Batch]:
    """What a vendor answers that has these events (several may share an instant), a page at a time."""
    for symbol, window in missing:
        rows = [(at, number) for number, at in enumerate(market[symbol]) if window.start <= minute(at) < window.end]
        rows = rows[::-1] if order == "backward" else rows
        for first in range(0, len(rows), size):
            page = rows[first : first + size]
            events = [Event("binance", "trade", symbol, minute(at), f"{symbol}{n}", {}, DAY) for at, n in page]
            yield Batch(events, list(range(len(events))))


@given(
    market=MARKETS, order=st.sampled_from(["forward", "backward"]), size=st.integers(1, 4),
    stops=st.lists(st.integers(0, 4), max_size=8),
)  # fmt: skip
def test_stopped_anywhere_any_number_of_times_everything_is_there_in_the_end(
    market: dict[str, list[int]], order: Order, size: int, stops: list[int]
) -> None:
    had: set[str] = set()
    missing = dict.fromkeys(IDS, HOUR)
    while missing:
        window = next(iter(missing.values()))
        symbols = [symbol for symbol, its in missing.items() if its == window]
        one = Tally(order, {symbol: symbol for symbol in symbols}, window)
        answers = list(pages(market, [(symbol, window) for symbol in symbols], order, size))
        until = stops.pop(0) if stops else None
        for batch in answers[:until]:
            one.take(batch)
            had |= {event.vendor_id for event in batch.events}
        if until is None:
            one.end()
        for cover in one.covers():
            left = missing.pop(cover.symbol)
            if cover.start > left.start:
                missing[cover.symbol] = Window(left.start, cover.start)
            elif cover.until < left.end:
                missing[cover.symbol] = Window(cover.until, left.end)
    assert had == {f"{symbol}{number}" for symbol, times in market.items() for number in range(len(times))}
