"""What the tables take: partitions are counted with their table."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from include.cli import app
from include.settings import Settings
from include.warehouse.db import connect
from include.warehouse.space import read_space

pytestmark = pytest.mark.stack
EVENTS = """
insert into raw.market_events (source, kind, symbol, event_time, payload_hash, payload, received_at, load_id)
select 'binance', 'trade', 'BTC-USD', '2025-12-31T23:50Z'::timestamptz + n * interval '1 second', gen_random_uuid(),
       '{}', '2026-03-02Z', 1
from generate_series(1, 2000) as n
"""


def test_a_table_takes_what_its_partitions_take(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(settings) as conn:
        conn.execute("select ops.make_event_partitions('{2025-12-31Z}')")
        conn.execute(EVENTS)
        conn.execute("select ops.refresh_statistics('raw.market_events')")
        (count, size) = conn.execute(
            "select count(*), sum(pg_total_relation_size(part)) from ops.partitions "
            "where parent = 'raw.market_events'::regclass"
        ).fetchone() or (0, 0)
        found = {one.name: one for one in read_space(conn)}
    events = found["raw.market_events"]
    assert (events.rows, events.parts, events.total_bytes) == (2000, count, size)
    assert events.table_bytes > 100_000 and events.index_bytes > 100_000
    assert found["ops.loads"].parts == 0 and not any(name.startswith("parts.") for name in found)

    monkeypatch.setattr("include.settings.load_settings", lambda: settings)
    screen = CliRunner().invoke(app, ["space"])
    assert "raw.market_events" in screen.output and "a million events take" in screen.output
    told = json.loads(CliRunner().invoke(app, ["space", "--json"]).output)
    assert told["tables"][0]["name"] == "raw.market_events"
    taken = sum(one["table_bytes"] + one["index_bytes"] for one in told["tables"])
    assert told["per_million_events"] == round(taken / 2000 * 1_000_000)


def test_a_table_without_statistics_has_the_rows_that_were_written(settings: Settings) -> None:
    with connect(settings) as conn:
        conn.execute("select ops.make_event_partitions('{2025-12-31Z}')")
        conn.execute(EVENTS)
        conn.execute("select pg_stat_force_next_flush()")
        found = {one.name: one.rows for one in read_space(conn)}
    assert found["raw.market_events"] == 2000
