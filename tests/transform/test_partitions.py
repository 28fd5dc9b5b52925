"""The marts are the same whatever they are cut into: rows over several partitions, late ones in old partitions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from include.settings import Settings
from include.warehouse.checksums import Checksum, differences, mart_checksums
from include.warehouse.db import connect
from tests.transform.events import accept, event
from tests.transform.marts import build, rebuild, rows, snapshot

pytestmark = pytest.mark.stack
MIDNIGHT = datetime(2025, 1, 1, tzinfo=UTC)  # a year, a month and a partition end here
FIRST = [event("trade", "BTC-USD", MIDNIGHT + timedelta(minutes=n), {"price": 100 + n % 7, "size": 1}, vendor_id=str(n))
         for n in range(-30, 30)]  # fmt: skip
LATE = [
    event("trade", "BTC-USD", MIDNIGHT - timedelta(minutes=20, seconds=30), {"price": 90, "size": 3}, vendor_id="late"),
    event("quote", "AAPL", MIDNIGHT - timedelta(days=3650), {"price": 27}),
    event("trade", "BTC-USD", MIDNIGHT + timedelta(days=40), {"price": 120, "size": 1}, vendor_id="next"),
]
PARTS = """
select to_char(from_at, 'YYYY-MM') from ops.partitions where parent = 'marts.candles_1m'::regclass
and from_at < '2026-01-01Z' order by from_at
"""


def checksums(settings: Settings) -> dict[str, Checksum]:
    with connect(settings) as conn:
        return mart_checksums(conn)


@pytest.fixture
def make_marts(make_settings: Callable[..., Settings], template_marts: str) -> Callable[[int], Settings]:
    def make(months: int) -> Settings:
        settings = make_settings(template=template_marts)
        with connect(settings) as conn:
            conn.execute("update ops.partitioning set months = %s", [months])
        return settings

    return make


def test_months_years_and_a_full_refresh_give_the_same_marts(make_marts: Callable[[int], Settings]) -> None:
    monthly, yearly = make_marts(1), make_marts(12)
    with connect(monthly) as conn:
        accept(conn, FIRST, {"replay": MIDNIGHT + timedelta(hours=1)})
        build(monthly)
        accept(conn, LATE)
        build(monthly)
        assert [month for (month,) in rows(conn, PARTS)] == ["2015-01", "2024-12", "2025-01", "2025-02"]
        incremental = snapshot(conn)
        late = "select low::int from marts.candles_1m where candle_start = '2024-12-31T23:39Z'"
        assert rows(conn, late) == [(90,)]
    with connect(yearly) as conn:  # everything at once, and in another order
        accept(conn, [*reversed(LATE), *reversed(FIRST)], {"replay": MIDNIGHT + timedelta(hours=1)})
        build(yearly)
        assert [month for (month,) in rows(conn, PARTS)] == ["2015-01", "2024-01", "2025-01"]
    assert differences(checksums(yearly), checksums(monthly)) == []

    rebuild(monthly)
    with connect(monthly) as conn:
        assert snapshot(conn) == incremental
        assert [month for (month,) in rows(conn, PARTS)] == ["2015-01", "2024-12", "2025-01", "2025-02"]


def test_the_newest_candles_are_read_from_the_newest_partition_alone(make_marts: Callable[[int], Settings]) -> None:
    settings = make_marts(1)
    with connect(settings) as conn:
        accept(conn, FIRST)
        build(settings)
        plan = "\n".join(
            line for (line,) in rows(
                conn, "explain (analyze, costs off, timing off, summary off, buffers off) select * from "
                "marts.indicators_1m where symbol = 'BTC-USD' and candle_start < '2025-01-01T00:20Z' "
                "order by candle_start desc limit 5",
            )
        )  # fmt: skip
    assert "Sort" not in plan and plan.count("never executed") >= 1, plan
