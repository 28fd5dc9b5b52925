from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import hypothesis.strategies as st
from hypothesis import given

from include.events import Event
from include.pipeline.history.lines import encode

ZONES = st.sampled_from([UTC, timezone(timedelta(hours=2))])
TIMES = st.datetimes(datetime(1980, 1, 1), timezones=ZONES)  # noqa: DTZ001  # the zone is added to it
EVENTS = st.builds(
    Event,
    st.sampled_from(["binance", 'a "quoted" one']), st.sampled_from(["bar", "trade"]), st.text(min_size=1, max_size=3),
    TIMES, st.text(max_size=3), st.dictionaries(st.text(max_size=3), st.text(max_size=3) | st.integers(0, 9)), TIMES,
    st.none() | TIMES,
)  # fmt: skip


@given(st.lists(EVENTS, max_size=5), st.booleans())
def test_the_lines_are_the_events_own_and_only_the_last_one_of_a_whole_answer_says_that_it_is_whole(
    events: list[Event], is_whole: bool
) -> None:
    expected = [replace(event, complete_until=None) for event in events]
    if events and is_whole:
        expected[-1] = events[-1]
    assert encode(events, is_whole=is_whole) == b"".join(event.to_json() + b"\n" for event in expected)
