"""For any rows, split over loads in any way and in any order: nothing is lost, nothing is doubled, the latest wins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from include.events import Event
from include.pipeline.audit import audit
from include.settings import Settings
from include.warehouse.db import connect
from tests.landing import add_load, quote

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)

ROWS = st.builds(
    lambda symbol, price, second, delay: quote(
        symbol, price, at=NOON - timedelta(seconds=second), received_at=NOON + timedelta(seconds=delay)
    ),
    symbol=st.sampled_from(["AAPL", "BTC-USD", "GHOST"]),
    price=st.sampled_from([10, 11, -1, "text", None]),
    second=st.integers(0, 1),
    delay=st.integers(0, 3),
)


@pytest.fixture
def lenient(marts_settings: Settings) -> Settings:
    return marts_settings.model_copy(update={"audit_min_symbol_share": 0.0, "audit_max_bad_share": 1.0})


@hypothesis_settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(ROWS, min_size=1, max_size=8), min_size=1, max_size=3))
def test_every_row_is_accounted_for_and_the_latest_delivery_stays(
    lenient: Settings, batches: list[list[Event]]
) -> None:
    with connect(lenient) as conn:
        conn.execute("truncate raw.market_events, raw.landed_events, raw.rejected_events, ops.loads")
        for batch in batches:
            add_load(conn, batch)
        report = audit(lenient, now=NOON)

        latest: dict[tuple[str, datetime, int], datetime] = {}
        bad = 0
        for event in (event for batch in batches for event in batch):
            price = event.payload["price"]
            if event.symbol == "GHOST" or not isinstance(price, int) or price <= 0:
                bad += 1
                continue
            key = (event.symbol, event.event_time, price)
            latest[key] = max(event.received_at, latest.get(key, event.received_at))

        assert report.inserted == len(latest)
        assert report.quarantined == bad
        assert report.inserted + report.duplicates + report.quarantined == sum(len(batch) for batch in batches)
        stored = conn.execute(
            "select symbol, event_time, (payload ->> 'price')::int, received_at from raw.market_events"
        )
        assert {row[:3]: row[3] for row in stored} == latest
        assert conn.execute("select count(*) from raw.landed_events").fetchone() == (0,)
        assert conn.execute("select count(*) from raw.rejected_events").fetchone() == (bad,)
