"""On a real TimescaleDB: hypertables, compressed chunks, what comes late into them, and the marts of plain Postgres."""

from __future__ import annotations

from datetime import timedelta

import pytest

from include.events import Event
from include.pipeline.cutting import disable_timescale, enable_timescale
from include.settings import Settings
from include.warehouse.db import connect
from include.warehouse.retention import Keep, remove_old
from include.warehouse.space import read_space
from tests.timescale.conftest import Both
from tests.transform.events import DAY, event
from tests.transform.marts import rebuild, rows

pytestmark = [pytest.mark.stack, pytest.mark.timescale]
CUT = {
    "raw.market_events", "marts.quotes", "marts.trades", "marts.candles_1m", "marts.candles_5m", "marts.indicators_1m",
    "marts.indicators_5m",
}  # fmt: skip
HYPERTABLES = """
select format('%I.%I', hypertable_schema, hypertable_name) from timescaledb_information.hypertables
"""


def trade(symbol: str, days: float, price: float, vendor_id: str = "") -> Event:
    """A trade so many days before the day of the tests."""
    time = DAY - timedelta(days=days)
    return event("trade", symbol, time, {"price": price, "size": 1}, vendor_id=vendor_id or f"{days}-{price}")


def month(symbol: str) -> list[Event]:
    """Every six hours, for thirty days: five chunks."""
    return [trade(symbol, n / 4, 100 + n % 9) for n in range(1, 121)]


@pytest.fixture(scope="module")
def compressed(both: Both) -> Both:
    both.bring([*month("BTC-USD"), *month("ETH-USD")])
    for table in CUT:
        both.compress(table)
    return both


def test_every_large_table_is_a_hypertable_and_its_chunks_hold_a_week(both: Both) -> None:
    with connect(both.timescale) as conn:
        assert {name for (name,) in rows(conn, HYPERTABLES)} == CUT
        intervals = "select distinct time_interval from timescaledb_information.dimensions"
        assert rows(conn, intervals) == [(timedelta(days=7),)]


def test_compressed_chunks_take_less_and_say_the_same(compressed: Both) -> None:
    assert compressed.differences() == []
    with connect(compressed.timescale) as conn:
        found = {one.name: one for one in read_space(conn)}
        segments = rows(conn, "select distinct segmentby from timescaledb_information.hypertable_columnstore_settings")
    assert segments == [("symbol",)]
    for name in ("raw.market_events", "marts.trades", "marts.candles_1m", "marts.indicators_1m"):
        assert found[name].parts == found[name].compressed >= 5, name
        assert 0 < found[name].after_bytes < found[name].before_bytes, name


def test_late_rows_and_revisions_find_their_place_in_compressed_chunks(compressed: Both) -> None:
    late = [
        trade("BTC-USD", 20.1, 90),  # between two that are there
        event("trade", "BTC-USD", DAY - timedelta(days=10), {"price": 777, "size": 1}, vendor_id="10.0-104",
              received_at=DAY),  # another word for one that is there
        trade("ETH-USD", 15.0, 100 + 60 % 9),  # the very same again
        trade("SOL-USD", 25, 20),  # a symbol that the chunk does not have
        trade("BTC-USD", 400, 1),  # before all chunks
    ]  # fmt: skip
    compressed.bring(late)
    compressed.bring(reversed(late))
    assert compressed.differences() == []
    with connect(compressed.timescale) as conn:
        low = "select low::int from marts.candles_1m where symbol = 'BTC-USD' and candle_start = %s"
        at = (DAY - timedelta(days=20.1)).replace(second=0, microsecond=0)
        assert conn.execute(low, [at]).fetchone() == (90,)
    compressed.compress("marts.candles_1m")  # what came late, too


def test_more_rows_than_timescale_unpacks_by_default_can_be_made_again(compressed: Both) -> None:
    with connect(compressed.timescale) as conn:
        assert rows(conn, "show timescaledb.max_tuples_decompressed_per_dml_transaction") == [("0",)]
    compressed.bring(trade(symbol, n / 4 + 0.01, 50) for symbol in ("BTC-USD", "ETH-USD") for n in range(1, 121))
    assert compressed.differences() == []


def test_a_full_refresh_makes_hypertables_again_with_the_same_rows(compressed: Both) -> None:
    rebuild(compressed.timescale)
    assert compressed.differences() == []
    with connect(compressed.timescale) as conn:
        assert {name for (name,) in rows(conn, HYPERTABLES)} == CUT
        enabled = "select count(*) from timescaledb_information.hypertables where not compression_enabled"
        assert rows(conn, enabled) == [(0,)]


def test_the_policy_is_set_anew_with_the_setting(compressed: Both) -> None:
    jobs = (
        "select distinct config ->> 'compress_after' from timescaledb_information.jobs where hypertable_name = 'trades'"
    )
    for days, expected in ((30, [("30 days",)]), (14, [("14 days",)]), (0, [])):
        enable_timescale(compressed.timescale.model_copy(update={"timescale_compress_days": days}))
        with connect(compressed.timescale) as conn:
            assert rows(conn, jobs) == expected


def test_analysts_read_hypertables_and_their_views(compressed: Both) -> None:
    with connect(compressed.timescale, role="analyst") as conn:
        assert conn.execute("select count(*) > 0 from marts.candles_1m").fetchone() == (True,)
        assert conn.execute("select count(*) > 0 from marts.top_movers").fetchone() == (True,)


def test_old_chunks_go_as_a_whole_and_the_rows_of_others_one_by_one(compressed: Both) -> None:
    with connect(compressed.timescale) as conn:
        conn.execute("update ops.loads set state = 'transformed'")
        (old,) = conn.execute(
            "select count(*) from raw.market_events where event_time < %s", [DAY - timedelta(days=12)]
        ).fetchone() or (0,)
        assert remove_old(conn, Keep(events=12), DAY) == {"events": old}
        assert rows(conn, "select min(event_time) from raw.market_events") >= [(DAY - timedelta(days=12),)]
        kept = rows(conn, "select min(range_start) from timescaledb_information.chunks where hypertable_schema = 'raw'")
        assert kept > [(DAY - timedelta(days=12 + 7),)]


def test_back_to_partitions_with_the_same_marts(compressed: Both) -> None:
    disable_timescale(compressed.timescale)
    assert compressed.differences() == []
    with connect(compressed.timescale) as conn:
        assert rows(conn, HYPERTABLES) == [] and rows(conn, "select ops.cuts_by()") == [("native",)]


def test_the_extension_is_needed_once_and_a_second_switch_changes_nothing(empty_timescale: Settings) -> None:
    version, _ = enable_timescale(empty_timescale)
    assert enable_timescale(empty_timescale) == (version, {})
