"""Backfills in Airflow: a window as Airflow can take it, and how far one is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.events import Window
from include.pipeline.history_request import HistoryRequest, days_of
from include.settings import Settings
from include.stack import backfills
from include.stack.airflow_api import AirflowApi, Run
from include.stack.backfills import Progress, Watched, split
from include.stack.secrets import Secrets
from include.warehouse.db import connect
from include.warehouse.outcomes import record

NOW = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)
BINANCE = HistoryRequest(sources=("binance",))


def at(day: int, hour: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    ("window", "days", "bounds", "rest"),
    [
        pytest.param(Window(at(1), at(4)), ["01", "02", "03"], (None, None), None, id="whole days"),
        pytest.param(
            Window(at(1, 12), at(3, 6)), ["01", "02", "03"], (at(1, 12), at(3, 6)), None,
            id="from noon to a morning: days that the runs cut off",
        ),
        pytest.param(
            Window(at(9), NOW), ["09"], (None, None), Window(at(10), NOW), id="until now: today is a run of its own"
        ),
        pytest.param(
            Window(at(10, 2), NOW), [], (None, None), Window(at(10, 2), NOW), id="only of today: no backfill at all"
        ),
    ],
)  # fmt: skip
def test_a_window_as_airflow_can_take_it(
    window: Window, days: list[str], bounds: tuple[datetime | None, datetime | None], rest: Window | None
) -> None:
    found = split(BINANCE, window, NOW)
    first = [f"{found.first + timedelta(days=n):%d}" for n in range(found.days)] if found.first else []
    assert (first, (found.conf.start, found.conf.end), found.rest) == (days, bounds, rest)
    assert found.conf.sources == ("binance",)


@given(
    start=st.integers(0, 10 * 24 * 60 - 1),
    length=st.integers(1, 10 * 24 * 60),
)
def test_nothing_is_lost_or_doubled_by_the_split(start: int, length: int) -> None:
    begin = at(1) + timedelta(minutes=start)
    window = Window(begin, max(begin + timedelta(minutes=1), min(NOW, begin + timedelta(minutes=length))))
    found = split(BINANCE, window, max(NOW, window.end))
    taken = []
    for number in range(found.days):
        assert found.first is not None
        day = found.first + timedelta(days=number)
        part = found.conf.window(Window(day, day + timedelta(days=1)), by_hand=False)
        assert part is not None, "a run with nothing to do"
        taken.append(part)
    assert [*taken, *([found.rest] if found.rest else [])] == list(days_of(window))


class Airflow(AirflowApi):
    """An Airflow that answers out of a table of runs: state by day of March, and by id for those by hand."""

    def __init__(self) -> None:
        super().__init__(Settings(_env_file=None), Secrets.generate())
        self.days: dict[int, str] = {}
        self.by_hand: dict[str, str] = {}
        self.putting_off: set[str] = set()
        self.asked: list[tuple[str, str, Any]] = []
        self.backfill_is_complete = True

    def _request(self, method: str, path: str, *, login: bool = True, **arguments: Any) -> Any:
        if method != "GET":
            self.asked.append((method, path, arguments.get("json")))
        query = arguments.get("params", {})
        match method, path.removeprefix("/api/v2").split("/")[1:]:
            case "POST", ["backfills"]:
                return self._made(arguments["json"])
            case "GET", ["backfills"]:
                made = self._made({"from_date": at(1).isoformat(), "to_date": at(4).isoformat(), "dag_run_conf": {}})
                return {"backfills": [made | {"completed_at": NOW.isoformat() if self.backfill_is_complete else None}]}
            case "POST", ["dags", _, "dagRuns"]:
                self.by_hand["manual__1"] = "queued"
                return self._run("manual__1", "queued", None)
            case "GET", ["dags", _, "dagRuns", "~", "taskInstances"]:
                return {"task_instances": [{"dag_run_id": run_id} for run_id in self.putting_off]}
            case "GET", ["dags", _, "dagRuns"]:
                return self._list(query)
            case "GET", ["dags", _, "dagRuns", run_id]:
                return self._run(run_id, self.by_hand[run_id], None)
        raise AssertionError(f"{method} {path}")

    def _made(self, body: dict[str, Any]) -> dict[str, Any]:
        return body | {"id": 3, "created_at": NOW.isoformat(), "completed_at": None, "is_paused": False}

    def _list(self, query: dict[str, Any]) -> dict[str, Any]:
        if query.get("run_type") == "manual":
            found = [self._run(run_id, state, None) for run_id, state in self.by_hand.items()]
        else:
            found = [self._run(f"backfill__{day}", state, at(day)) for day, state in sorted(self.days.items())]
            first, last = query.get("logical_date_gte", ""), query.get("logical_date_lte", "9")
            found = [run for run in found if first <= run["logical_date"] <= last]
        found = [run for run in found if run["state"] == query.get("state", run["state"])]
        return {"dag_runs": found[: query["limit"]], "total_entries": len(found)}

    def _run(self, run_id: str, state: str, logical_date: datetime | None) -> dict[str, Any]:
        due = logical_date + timedelta(days=1) if logical_date else NOW
        return {
            "dag_id": "market_backfill", "dag_run_id": run_id, "state": state, "run_after": due.isoformat(),
            "start_date": NOW.isoformat(), "end_date": None,
            "logical_date": logical_date.isoformat() if logical_date else None,
        }  # fmt: skip


@pytest.fixture
def conn(settings: Settings) -> Iterator[psycopg.Connection]:
    with connect(settings) as conn:
        yield conn


def load(conn: psycopg.Connection, origin: str, state: str, inserted: int, *, is_live: bool = False) -> None:
    conn.execute(
        "insert into ops.loads (origin, state, is_live, read_count, inserted_count, duplicate_count) "
        "values (%s, %s, %s, %s, %s, 0)",
        [origin, state, is_live, inserted, inserted],
    )


def test_starting_one_asks_airflow_for_the_days_and_for_today(conn: psycopg.Connection) -> None:
    api = Airflow()
    load(conn, "raw/before", "transformed", 10)
    watched = backfills.start(api, conn, BINANCE, Window(at(8, 6), NOW), NOW)
    (_, _, made), (_, _, run) = api.asked
    assert (made["from_date"], made["to_date"]) == ("2026-03-08T00:00:00+00:00", "2026-03-09T00:00:00+00:00")
    assert made["reprocess_behavior"] == "completed", "a day that ran for another source runs again"
    assert (made["dag_run_conf"]["sources"], made["dag_run_conf"]["from"]) == (
        ["binance"],
        "2026-03-08T06:00:00.000000Z",
    )
    assert (run["conf"]["from"], run["conf"]["to"]) == ("2026-03-10T00:00:00.000000Z", "2026-03-10T09:30:00.000000Z")
    assert (watched.run_ids, watched.since) == (("manual__1",), 1)


def test_how_far_it_is_down_to_the_marts(conn: psycopg.Connection) -> None:
    api = Airflow()
    watched = backfills.start(api, conn, BINANCE, Window(at(1), at(5)), NOW)
    api.days = {1: "success", 2: "failed", 3: "running", 4: "queued", 7: "success"}  # the last is none of its days
    api.putting_off = {"backfill__3"}
    load(conn, "raw/live", "accepted", 50, is_live=True)
    load(conn, "raw/day-1", "transformed", 1000)
    load(conn, "raw/day-2", "accepted", 400)
    now = backfills.progress(api, conn, watched)
    assert now == Progress(days=4, done=1, failed=1, running=1, deferred=1, events=1400, waiting=1)
    assert not now.is_fetched


class Moving(Airflow):
    """All its days go on by one state with every question."""

    def _list(self, query: dict[str, Any]) -> dict[str, Any]:
        answer = super()._list(query)
        later = {"queued": "running", "running": "success"}
        self.days = {day: later.get(state, state) for day, state in self.days.items()}
        return answer


def test_days_that_go_on_while_they_are_counted_are_not_counted_twice(conn: psycopg.Connection) -> None:
    api = Moving()
    watched = backfills.start(api, conn, BINANCE, Window(at(1), at(4)), NOW)
    api.days = {1: "queued", 2: "queued", 3: "queued"}
    first = backfills.progress(api, conn, watched)
    assert (first.days, first.done, first.is_fetched) == (3, 0, False)
    assert backfills.progress(api, conn, watched).is_fetched


def test_it_is_complete_when_the_last_load_is_in_the_marts(conn: psycopg.Connection) -> None:
    api = Airflow()
    watched = backfills.start(api, conn, BINANCE, Window(at(9), NOW), NOW)
    api.days, api.by_hand = {9: "success"}, {"manual__1": "success"}
    load(conn, "raw/day-9", "accepted", 1000)
    assert [backfills.progress(api, conn, watched).is_fetched, backfills.progress(api, conn, watched).is_complete] == [
        True,
        False,
    ]
    conn.execute("update ops.loads set state = 'transformed'")
    assert backfills.progress(api, conn, watched).is_complete


def test_days_that_failed_come_with_what_was_said(conn: psycopg.Connection) -> None:
    api = Airflow()
    watched = backfills.start(api, conn, BINANCE, Window(at(1), at(4)), NOW)
    api.days = {1: "failed", 2: "success", 3: "failed"}
    for run, error in (("backfill__3", "of an earlier try"), ("backfill__3#1", "Binance: answered 503")):
        record(conn, "history", False, source="binance", run_id=run, error=error)
    record(conn, "history", False, source="binance", run_id="backfill__2", error="is not asked about")
    assert [(failure.day, failure.errors) for failure in backfills.failures(api, conn, watched)] == [
        ("2026-03-01", []),
        ("2026-03-03", ["binance: Binance: answered 503"]),
    ]


def test_the_active_one_is_found_with_what_came_since_it_was_made(conn: psycopg.Connection) -> None:
    api = Airflow()
    assert backfills.active(api, conn) is None
    load(conn, "raw/before", "transformed", 10)
    conn.execute("update ops.loads set loaded_at = %s", [NOW - timedelta(hours=1)])
    api.backfill_is_complete = False
    found = backfills.active(api, conn)
    assert isinstance(found, Watched) and found.backfill is not None
    assert (found.backfill.first, found.backfill.last, found.since) == (at(1), at(4), 1)


def test_a_run_of_a_backfill_is_of_its_own_day() -> None:
    assert (
        str(backfills.day_of(Run("market_backfill", "x", "failed", at(5), None, None, logical_date=at(4))))
        == "2026-03-04"
    )
