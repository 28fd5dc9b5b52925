"""Which loads a batch takes: everything live, or else the next slice of history, oldest events first."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest

from include.settings import Settings
from include.transform.batch import Backlog, backlog, close_batch, open_batch
from include.warehouse.db import connect
from tests.transform.events import DAY
from tests.transform.marts import rows

pytestmark = pytest.mark.stack


def accepted(
    conn: psycopg.Connection, name: str, *, day: int | None = None, events: int = 100, repeats: int = 0
) -> None:
    """A load of history of that day (None: nobody knows which), or one that came live."""
    conn.execute(
        "insert into ops.loads (origin, is_live, state, read_count, inserted_count, duplicate_count, first_event_at) "
        "values (%s, %s, 'accepted', %s, %s, %s, %s)",
        [
            name, name.startswith("live"), events + repeats, events, repeats,
            None if day is None else DAY + timedelta(days=day),
        ],
    )  # fmt: skip


def taken(conn: psycopg.Connection, most: int) -> list[str]:
    """The loads of the next batch, in the order of their ids."""
    query = "select origin from ops.loads where load_id = any(%s) order by load_id"
    return [name for (name,) in conn.execute(query, [list(open_batch(conn, most))])]


def all_batches(conn: psycopg.Connection, most: int) -> list[list[str]]:
    batches = []
    while batch := taken(conn, most):
        batches.append(batch)
        with conn.transaction():
            close_batch(conn, open_batch(conn, most))
    return batches


def test_history_comes_in_slices_that_lie_together_in_time(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        for day in (4, 1, 3, 0, 2):
            accepted(conn, f"day {day}", day=day)
        assert backlog(conn) == Backlog(live=0, history=5)
        assert all_batches(conn, 200) == [["day 1", "day 0"], ["day 3", "day 2"], ["day 4"]]
        assert not backlog(conn)


def test_a_load_larger_than_a_slice_is_one_of_its_own(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        accepted(conn, "small", day=0, events=100)
        accepted(conn, "large", day=1, events=5000)
        accepted(conn, "small too", day=2, events=100)
        assert all_batches(conn, 1000) == [["small"], ["large"], ["small too"]]


def test_rows_that_were_there_already_count_too_because_a_build_looks_at_them(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        accepted(conn, "repeats", day=0, events=0, repeats=900)
        accepted(conn, "new", day=1, events=200)
        accepted(conn, "nothing", day=2, events=0)
        assert all_batches(conn, 1000) == [["repeats"], ["new", "nothing"]]


def test_loads_of_an_unknown_time_come_last_in_their_order(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        accepted(conn, "unknown 1")
        accepted(conn, "unknown 2")
        accepted(conn, "known", day=9)
        assert all_batches(conn, 100) == [["known"], ["unknown 1"], ["unknown 2"]]


def test_what_is_live_comes_first_and_all_at_once(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        accepted(conn, "day 0", day=0)
        accepted(conn, "live 1", events=5000)
        accepted(conn, "live 2")
        assert backlog(conn) == Backlog(live=2, history=1)
        assert all_batches(conn, 100) == [["live 1", "live 2"], ["day 0"]]


WATERMARK = "select to_char(complete_until, 'HH24:MI') from ops.transform_watermarks"


def test_a_slice_that_a_crash_left_open_is_finished_as_it_is(marts_settings: Settings) -> None:
    """With the watermarks that it took; those of today came with loads that are not in it."""
    with connect(marts_settings) as conn:
        accepted(conn, "day 0", day=0)
        accepted(conn, "day 1", day=1)
        conn.execute("insert into ops.watermarks values ('simulator', '2026-03-02 10:00Z')")
        assert taken(conn, 100) == ["day 0"]
        conn.execute("update ops.watermarks set complete_until = '2026-03-02 10:01Z'")
        assert (taken(conn, 100), rows(conn, WATERMARK)) == (["day 0"], [("10:00",)])
        with conn.transaction():
            close_batch(conn, open_batch(conn, 100))
        assert (taken(conn, 100), rows(conn, WATERMARK)) == (["day 1"], [("10:01",)])


def test_a_slice_that_a_crash_left_open_makes_room_for_what_is_live(marts_settings: Settings) -> None:
    """What it had changed comes back with it."""
    ranges = "select symbol from intermediate.int_changed_ranges"
    with connect(marts_settings) as conn:
        accepted(conn, "day 0", day=0)
        conn.execute("insert into ops.watermarks values ('simulator', '2026-03-02 10:00Z')")
        assert taken(conn, 100) == ["day 0"]
        conn.execute(
            "insert into intermediate.int_changed_ranges (source, symbol, from_candle, until_candle) "
            "values ('simulator', 'AAPL', '2026-03-02 10:00Z', '2026-03-02 10:05Z')"
        )
        accepted(conn, "live")
        conn.execute("update ops.watermarks set complete_until = '2026-03-02 10:01Z'")
        assert (taken(conn, 100), rows(conn, WATERMARK), rows(conn, ranges)) == (["live"], [("10:01",)], [])
        with conn.transaction():
            close_batch(conn, open_batch(conn, 100))
        assert (taken(conn, 100), rows(conn, ranges)) == (["day 0"], [("AAPL",)])


def test_a_live_batch_that_a_crash_left_open_takes_what_came_since(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        accepted(conn, "day 0", day=0)
        accepted(conn, "live 1")
        assert taken(conn, 100) == ["live 1"]
        accepted(conn, "live 2")
        assert taken(conn, 100) == ["live 1", "live 2"]
