"""The simulator does wrong things on purpose: the search finds exactly those that leave a minute without a candle."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg

from include.calendars import sessions
from include.events import Event, Window
from include.instruments import load_instruments
from include.settings import Settings
from include.sources.base import Rejected
from include.sources.shocks import Label, labels
from include.sources.simulator import Simulator
from include.warehouse.quarantine import quarantine
from tests.gaps.pictures import fetched, search
from tests.transform.events import accept
from tests.transform.marts import build

DAY = Window(datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC))


def test_the_gaps_of_a_day_are_the_labelled_ones(conn: psycopg.Connection, marts_settings: Settings) -> None:
    instruments = load_instruments(marts_settings.instruments_file)
    calendars = {one.symbol: one.calendar for one in instruments}
    shocks = labels(marts_settings.simulator_seed, list(calendars), DAY)
    malformed = [shock for shock in shocks if shock.shock == "malformed_row"]
    source = Simulator(marts_settings.model_copy(update={"simulator_trades_per_minute": 0}))
    for number, batch in enumerate(source.fetch(DAY, instruments)):
        bad = [event for event in batch.events if any(is_in(event, shock) for shock in malformed)]
        accept(conn, [event for event in batch.events if event not in bad])
        rejected = [
            Rejected(line, "malformed", b"", "quote", event.symbol, event.event_time)
            for line, event in enumerate(bad, start=1)
        ]
        quarantine(conn, f"hour {number}", "simulator", rejected)
    build(marts_settings)
    for symbol in calendars:
        fetched(conn, symbol, "00:00 .. 24:00", source="simulator")
    search(marts_settings, now=DAY.end)

    reasons = {"gap": "outage", "malformed_row": "quarantined"}
    expected = {
        (shock.symbol, reasons[shock.shock], max(shock.starts_at, session.start), min(shock.ends_at, session.end))
        for shock in shocks
        if shock.shock in reasons
        for session in sessions(calendars[shock.symbol], Window(shock.starts_at, shock.ends_at))
    }
    found = conn.execute("select symbol, reason, gap_start, gap_end from marts.gaps").fetchall()
    assert set(found) == expected
    assert {reason for _, reason, _, _ in expected} == set(reasons.values())


def is_in(event: Event, shock: Label) -> bool:
    return event.symbol == shock.symbol and shock.starts_at <= event.event_time < shock.ends_at
