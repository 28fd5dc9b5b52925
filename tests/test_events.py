"""The envelope: there and back, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.events import BadEventError, Event, Window, iso, parse_event

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
LINE: dict[str, Any] = {
    "source": "simulator",
    "kind": "quote",
    "symbol": "BTC-USD",
    "event_time": "2026-01-02T12:00:59.500000Z",
    "vendor_id": "",
    "received_at": "2026-01-02T12:01:00.000000Z",
    "complete_until": None,
    "payload": {"price": 101.5},
}


def test_an_envelope_is_read_and_written_the_same() -> None:
    event = parse_event(LINE)
    assert (event.symbol, event.payload["price"]) == ("BTC-USD", 101.5)
    assert orjson.loads(event.to_json()) == LINE


@given(
    symbol=st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=100),
    when=st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2200, 1, 1)),  # noqa: DTZ001
    offset=st.integers(-12, 14),
)
def test_any_event_survives_the_journey(symbol: str, when: datetime, offset: int) -> None:
    moment = when.replace(tzinfo=timezone(timedelta(hours=offset)))
    event = Event("replay", "trade", symbol, moment.astimezone(UTC), "7", {"price": 1}, NOON, complete_until=NOON)
    assert parse_event(orjson.loads(event.to_json())) == event


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"source": None}, "source is None; it must be a text"),
        ({"symbol": ""}, "symbol is ''; it must be a text of 1 to 100"),
        ({"symbol": "A\x00"}, "symbol is 'A"),
        ({"kind": "tick"}, "kind is 'tick'; it must be one of quote, trade, bar"),
        ({"event_time": "yesterday"}, "event_time is 'yesterday'; it must be an ISO 8601 time"),
        ({"event_time": "2026-01-02T12:00:00"}, "must carry its time zone"),
        ({"event_time": 1767355200}, "event_time is 1767355200"),
        ({"payload": [1]}, r"payload is \[1\]; it must be a JSON object"),
        ({"vendor_id": 7}, "vendor_id is 7; it must be a text"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_wrong_field_is_named_with_its_value(change: dict[str, Any], says: str) -> None:
    with pytest.raises(BadEventError, match=says):
        parse_event(LINE | change)


def test_equal_times_are_equal_texts() -> None:
    berlin = datetime(2026, 7, 1, 14, 0, tzinfo=timezone(timedelta(hours=2)))
    assert iso(berlin) == iso(datetime(2026, 7, 1, 12, 0, tzinfo=UTC)) == "2026-07-01T12:00:00.000000Z"


def test_a_window_is_half_open_and_never_empty() -> None:
    assert Window(NOON, NOON + timedelta(minutes=2)).minutes() == [NOON, NOON + timedelta(minutes=1)]
    assert Window.minute_before(NOON + timedelta(seconds=40)) == Window(NOON - timedelta(minutes=1), NOON)
    with pytest.raises(ValueError, match="is empty"):
        Window(NOON, NOON)
    with pytest.raises(ValueError, match="no time zone"):
        Window(NOON.replace(tzinfo=None), NOON)


def test_a_window_of_airflows_own_times_is_one_of_plain_times() -> None:
    import pendulum

    window = Window(pendulum.datetime(2026, 1, 2, 12, 0), pendulum.datetime(2026, 1, 2, 14, 2, tz="Europe/Berlin"))
    assert window == Window(NOON, NOON + timedelta(hours=1, minutes=2))
    assert type(window.start) is type(window.end) is datetime
    assert len(window.minutes()) == 62
