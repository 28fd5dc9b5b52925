"""What `status` works out from the warehouse: missing minutes and what is wrong."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.events import Window
from include.settings import Settings
from include.stack import status
from include.stack.programs import AIRFLOW
from include.stack.status import Gap, missing_minutes, read_status
from include.stack.supervision import Process, Supervisor
from include.warehouse.db import connect
from include.warehouse.outcomes import record

NOW = datetime(2026, 3, 2, 12, 10, 30, tzinfo=UTC)


def minute(number: int, *, length: int = 1) -> Window:
    """Minutes after 12:00 of that day."""
    start = datetime(2026, 3, 2, 12, tzinfo=UTC) + timedelta(minutes=number)
    return Window(start, start + timedelta(minutes=length))


def pulled(conn: psycopg.Connection, *windows: Window, ok: bool = True, source: str = "simulator") -> None:
    for window in windows:
        record(conn, "pull", ok, source=source, window=window)


def test_no_minute_is_missing_before_the_first_pull(settings: Settings) -> None:
    with connect(settings) as conn:
        assert missing_minutes(conn, ["simulator"], NOW) == []
        pulled(conn, minute(0, length=9))
        assert missing_minutes(conn, ["simulator"], NOW) == []


def test_minutes_without_a_good_pull_are_missing_as_ranges(settings: Settings) -> None:
    with connect(settings) as conn:
        pulled(conn, minute(0), minute(1), minute(5), minute(6), minute(6), minute(8))
        pulled(conn, minute(3), ok=False)
        gaps = missing_minutes(conn, ["simulator"], NOW)
    assert [(gap.start.minute, gap.end.minute, gap.minutes) for gap in gaps] == [(2, 5, 3), (7, 8, 1)]


def test_a_pull_may_cover_many_minutes(settings: Settings) -> None:
    with connect(settings) as conn:
        pulled(conn, minute(-120, length=120), minute(2), minute(0, length=9))
        assert missing_minutes(conn, ["simulator"], NOW) == []


def test_the_minute_that_is_being_pulled_is_not_missing_yet(settings: Settings) -> None:
    with connect(settings) as conn:
        pulled(conn, minute(0, length=9))
        assert missing_minutes(conn, ["simulator"], NOW) == []
        later = NOW + timedelta(minutes=1)
        assert missing_minutes(conn, ["simulator"], later) == [Gap("simulator", minute(9).start, minute(9).end)]


def test_a_night_off_is_one_gap_and_at_most_a_day_of_it_counts(settings: Settings) -> None:
    with connect(settings) as conn:
        pulled(conn, minute(0))
        (gap,) = missing_minutes(conn, ["simulator"], NOW + timedelta(days=3))
    assert gap.minutes == 24 * 60


def test_each_enabled_source_is_counted_apart(settings: Settings) -> None:
    with connect(settings) as conn:
        pulled(conn, minute(0, length=9))
        pulled(conn, minute(0), minute(8), source="coingecko")
        assert missing_minutes(conn, ["simulator"], NOW) == []
        assert [gap.source for gap in missing_minutes(conn, ["simulator", "coingecko"], NOW)] == ["coingecko"]


@pytest.fixture(scope="session")
def outcomes(template_warehouse: str, servers: object) -> Settings:
    from tests.conftest import make_warehouse, warehouse_settings

    make_warehouse(servers, "status_property", template=template_warehouse)  # type: ignore[arg-type]
    return warehouse_settings(servers, "status_property")  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 5)), min_size=1, max_size=8))
def test_missing_is_what_no_pull_covers(outcomes: Settings, pulls: list[tuple[int, int]]) -> None:
    """Whatever the pulls' order, overlaps and lengths; the oracle counts minute by minute."""
    covered = {number for start, length in pulls for number in range(start, start + length)}
    until = 30
    expected = set(range(min(covered), until)) - covered
    with connect(outcomes) as conn:
        conn.execute("truncate ops.outcomes")
        pulled(conn, *(minute(start, length=length) for start, length in pulls))
        gaps = missing_minutes(conn, ["simulator"], minute(until).start + timedelta(seconds=90))
    found = [at for gap in gaps for at in Window(gap.start, gap.end).minutes()]
    assert found == [minute(number).start for number in sorted(expected)]


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> dict[str, Process]:
    """A stack without Airflow that says of its processes what the test says."""
    states = {"postgres": "RUNNING", "aws": "RUNNING"} | dict.fromkeys(AIRFLOW, "STOPPED")
    processes = {name: Process(name, state, 1, 60.0, "said") for name, state in states.items()}
    monkeypatch.setattr(Supervisor, "processes", lambda self: processes)
    return processes


def test_a_running_database_and_aws_without_airflow_is_healthy(
    marts_settings: Settings, running: dict[str, Process]
) -> None:
    found = read_status(marts_settings)
    assert (found.health, found.problems) == ("healthy", [])
    assert found.lag == status.Lag(0, 0.0)


def test_a_crashing_process_degrades_and_its_log_is_named(
    marts_settings: Settings, running: dict[str, Process]
) -> None:
    running["aws"] = Process("aws", "BACKOFF", None, 0.0, "exited too quickly")
    found = read_status(marts_settings)
    assert found.health == "degraded"
    assert found.problems == ["aws is BACKOFF: exited too quickly; see `quantstream logs aws`"]


def test_waiting_records_unsent_alerts_and_rejected_loads_are_counted(
    marts_settings: Settings, running: dict[str, Process]
) -> None:
    from include.aws import client

    client(marts_settings, "kinesis").put_records(
        StreamName=marts_settings.stream, Records=[{"Data": b"{}", "PartitionKey": str(n)} for n in range(3)]
    )
    with connect(marts_settings) as conn:
        conn.execute(
            "insert into ops.outbox (alert_key, subject, body, created_at)"
            " values ('k', 's', 'b', now() - interval '1 hour')"
        )
        conn.execute("insert into ops.loads (origin, state, is_live, read_count) values ('o', 'rejected', true, 1)")
    found = read_status(marts_settings)
    assert found.lag is not None
    assert (found.lag.records, found.unsent_alerts, found.rejected_loads) == (3, 1, 1)
    assert found.health == "degraded"
    assert any("quantstream loads list --state rejected" in problem for problem in found.problems)
    assert any("1 alerts are unsent" in problem for problem in found.problems)


def test_a_warehouse_without_tables_is_a_problem_and_not_a_traceback(
    make_settings: object, settings: Settings, running: dict[str, Process]
) -> None:
    found = read_status(settings)  # migrated, but dbt has not built anything
    assert found.health == "degraded"
    assert "the warehouse: " in found.problems[0]


def test_nothing_running_is_its_own_state(settings: Settings) -> None:
    found = read_status(settings)
    assert found.health == "not running"
    assert status.EXIT_CODES[found.health] == 3
