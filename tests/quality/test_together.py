"""Judged together or one by one: exactly the loads of which there is nothing to say are cleared."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from include.events import Event
from include.instruments import load_instruments
from include.quality.audit import judge, limits
from include.quality.rows import LoadFacts
from include.quality.together import all_is_well
from include.settings import Settings
from include.warehouse.db import connect
from tests.landing import add_load, event, quote

pytestmark = pytest.mark.stack

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def pull(settings: Settings, at: datetime = NOW) -> list[Event]:
    """A whole pull of the simulator."""
    return [
        quote(one.symbol, 10, at=at) for one in load_instruments(settings.instruments_file) if "simulator" in one.ids
    ]


def test_exactly_the_loads_that_break_no_rule_are_cleared(marts_settings: Settings) -> None:
    whole = pull(marts_settings)
    flat = {"resolution": "1m", "open": 1, "high": 1, "low": 1, "close": 1, "volume": 1}
    bar = event("bar", "AAPL", flat, at=NOW, source="replay")
    wrong = event("bar", "AAPL", flat | {"high": 0.5}, at=NOW, source="replay")
    almost = {"open": 0.1, "high": 0.1, "low": "0.1000000000000000000001", "close": 0.1}  # equal as doubles only
    loads = {
        "good": whole,
        "good, with a malformed line": whole,
        "a bar": [bar],
        "a wrong bar": [wrong],
        "a bar that doubles cannot tell": [event("bar", "AAPL", flat | almost, at=NOW, source="replay")],
        "too few symbols": whole[:3],
        "an unknown symbol": [*whole, quote("NOBODY", 1, at=NOW)],
        "a price of 0": [*whole[1:], quote(whole[0].symbol, 0, at=NOW)],
        "from the future": [*whole, quote("BTC-USD", 1, at=NOW + HOUR)],
        "far too late": [*whole, quote("BTC-USD", 1, at=NOW - 48 * HOUR)],
        "mostly repeats": [*whole, *whole, *whole],
        "nothing": [],
    }
    with connect(marts_settings) as conn:
        facts, names = [], {}
        for name, events in loads.items():
            malformed = int(name.endswith("line"))
            # each at a time of its own, so that none completes the pull of another
            later = [replace(one, received_at=one.received_at + len(names) * HOUR) for one in events]
            load_id = add_load(conn, later, malformed=malformed)
            names[load_id] = name
            facts.append(LoadFacts(load_id, name, True, len(events) + malformed, malformed))
        against = limits(conn, marts_settings, NOW)

        alone = {one.load_id for one in facts if not judge(conn, one, against).failures}
        together = all_is_well(conn, [(one, against) for one in facts])

    assert {names[load_id] for load_id in together} == {"good", "good, with a malformed line", "a bar"}
    assert together == {load_id for load_id in alone if names[load_id] != "a bar that doubles cannot tell"}


def test_the_narrowest_limits_count_for_all(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        facts = []
        for at in (NOW, NOW - HOUR):
            events = pull(marts_settings, at)
            facts.append(LoadFacts(add_load(conn, events), "", True, len(events), 0))
        early, late = (limits(conn, marts_settings, now) for now in (NOW - HOUR, NOW))
        assert all_is_well(conn, list(zip(facts, (late, early), strict=True))) == {facts[1].load_id}
        assert all_is_well(conn, [(facts[0], late)]) == {facts[0].load_id}
