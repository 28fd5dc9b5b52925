"""The search looks at what changed, ends in the same gaps whatever the order, and tells of each new one once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as rules
from hypothesis import strategies as st

from include.errors import LeaseHeldError
from include.events import Window
from include.pipeline import gaps as pipeline
from include.pipeline.gaps import find_gaps, missing
from include.settings import Settings
from include.warehouse.db import connect
from include.warehouse.leases import lease
from tests.gaps.pictures import NIGHT_AFTER, alerts, at, fetched, gaps, polled, search, traded


def test_a_gap_that_is_filled_later_is_gone(conn: psycopg.Connection, marts_settings: Settings) -> None:
    traded(conn, "X", "00:00 .. 10:00", "11:00 .. 24:00")
    fetched(conn, "X", "00:00 .. 24:00")
    search(marts_settings)
    assert gaps(conn) == ["X 10:00-11:00 outage"]
    traded(conn, "X", "10:00 .. 11:00")
    search(marts_settings)
    assert gaps(conn) == []


def test_one_that_is_filled_in_part_keeps_its_date(conn: psycopg.Connection, marts_settings: Settings) -> None:
    traded(conn, "X", "00:00 .. 10:00", "11:00 .. 24:00")
    fetched(conn, "X", "00:00 .. 24:00")
    search(marts_settings)
    traded(conn, "X", "10:20 .. 10:21")
    search(marts_settings, now=NIGHT_AFTER + timedelta(days=1))
    assert gaps(conn) == ["X 10:00-10:20 outage", "X 10:21-11:00 outage"]
    assert conn.execute("select distinct found_at from marts.gaps").fetchall() == [(NIGHT_AFTER,)]


def test_what_was_asked_for_later_gets_another_reason(conn: psycopg.Connection, marts_settings: Settings) -> None:
    traded(conn, "X", "00:00 .. 10:00", "11:00 .. 24:00")
    fetched(conn, "X", "00:00 .. 10:00", "11:00 .. 24:00")
    search(marts_settings)
    assert gaps(conn) == ["X 10:00-11:00 never_fetched"]
    fetched(conn, "X", "10:00 .. 11:00", ended="empty")
    search(marts_settings)
    assert gaps(conn) == ["X 10:00-11:00 outage"]


def test_one_series_that_trades_on_clears_the_others(conn: psycopg.Connection, marts_settings: Settings) -> None:
    halves = [f"{n // 60:02}:{n % 60:02} .. {(n + 1) // 60:02}:{(n + 1) % 60:02}" for n in range(0, 1440, 2)]
    rest = [one for one in halves if not "10:00" <= one[:5] < "10:20"]
    for symbol in ("A", "B", "C"):
        traded(conn, symbol, *rest)
        fetched(conn, symbol, "00:00 .. 24:00")
    search(marts_settings)
    assert len(gaps(conn)) == 3
    traded(conn, "C", "10:00 .. 10:20")  # late: the source was not silent after all
    search(marts_settings)
    assert gaps(conn) == []


def test_nothing_new_costs_no_build(
    conn: psycopg.Connection, marts_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    traded(conn, "X", "00:00 .. 10:00", "11:00 .. 24:00")
    search(marts_settings)
    monkeypatch.setattr(pipeline, "build_selected", pytest.fail)
    assert (search(marts_settings).loads, search(marts_settings).gaps) == (0, 1)


def test_before_anything_was_built_nothing_is_missing(settings: Settings) -> None:
    assert (search(settings).gaps, search(settings).alerts) == (0, 0)
    with connect(settings) as conn:
        assert missing(conn, source="binance", window=Window(at("00:00"), at("24:00"))) == []


def test_after_an_upgrade_the_search_makes_its_models_first(conn: psycopg.Connection, marts_settings: Settings) -> None:
    traded(conn, "X", "00:00 .. 10:00", "11:00 .. 24:00")
    search(marts_settings)
    conn.execute("drop view intermediate.int_evidence")
    conn.execute("update ops.built_from set hash = 'of before' where name in ('dbt', 'gaps')")
    conn.execute("delete from intermediate.int_silences")
    search(marts_settings, now=NIGHT_AFTER + timedelta(days=1))
    assert gaps(conn) == ["X 10:00-11:00 unknown"]
    assert conn.execute("select found_at from marts.gaps").fetchall() == [(NIGHT_AFTER,)]
    assert len(alerts(conn)) == 1


def test_only_the_spans_around_a_change_are_read_again(conn: psycopg.Connection, marts_settings: Settings) -> None:
    traded(conn, "X", "00:00 .. 10:00", "11:00 .. +9 00:00")
    search(marts_settings)
    traded(conn, "X", "10:30 .. 10:31")
    search(marts_settings)
    spans = conn.execute("select from_at, until_at from ops.gap_spans").fetchall()
    assert spans == [(at("09:59"), at("11:00"))]


HOURS = st.lists(st.tuples(st.integers(0, 47), st.integers(1, 60)), min_size=1, max_size=12)


@rules(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hours=HOURS, cut=st.integers(0, 12), order=st.randoms(use_true_random=False))
def test_the_order_of_what_came_and_the_searches_between_do_not_matter(
    make_settings: Callable[..., Settings], template_marts: str, hours: list[tuple[int, int]], cut: int, order: object
) -> None:
    spans = [(f"+{hour // 24} {hour % 24:02}:00", length) for hour, length in hours]
    pieces = [f"{start} .. +{(at(start) + timedelta(minutes=length) - at('00:00')).days} "
              f"{(at(start) + timedelta(minutes=length)):%H:%M}" for start, length in spans]  # fmt: skip
    found = []
    for shuffled in (False, True):
        settings = make_settings(template=template_marts)
        with connect(settings) as conn:
            steps = [lambda piece=piece: traded(conn, "X", piece) for piece in pieces]  # type: ignore[misc]
            steps.append(lambda: traded(conn, "Y", "00:00 .. +2 00:00"))
            steps.append(lambda: fetched(conn, "X", "00:00 .. 18:00"))
            steps.append(lambda: polled(conn, "+1 06:00 .. +1 12:00", ok=False))
            if shuffled:
                order.shuffle(steps)  # type: ignore[attr-defined]
            for number, step in enumerate(steps):
                step()
                if shuffled and number == cut:
                    search(settings)
            search(settings)
            found.append(gaps(conn))
    assert found[0] == found[1]


def test_one_alert_tells_of_all_that_a_source_missed(conn: psycopg.Connection, marts_settings: Settings) -> None:
    for symbol in ("X", "Y"):
        traded(conn, symbol, "00:00 .. 10:00", "10:40 .. 11:00", "11:30 .. 24:00")
        fetched(conn, symbol, "00:00 .. 24:00")
    assert search(marts_settings).alerts == 1
    assert alerts(conn) == [
        "binance: 140 minutes are missing between 2026-03-02T10:00 and 2026-03-02T11:30 UTC (outage): X 70, Y 70; "
        "`quantstream gaps --source binance` shows them"
    ]
    assert search(marts_settings, now=NIGHT_AFTER + timedelta(hours=1)).alerts == 0  # and not again
    assert conn.execute("select count(*) from ops.outbox").fetchone() == (1,)


def test_old_history_alarms_nobody(conn: psycopg.Connection, marts_settings: Settings) -> None:
    traded(conn, "X", "00:00 .. 10:00", "11:00 .. 24:00")
    assert search(marts_settings, now=NIGHT_AFTER + timedelta(days=30)).alerts == 0
    assert gaps(conn) == ["X 10:00-11:00 unknown"]


def test_what_was_found_before_a_crash_is_told_after_it(
    conn: psycopg.Connection, marts_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    traded(conn, "X", "00:00 .. 10:00", "11:00 .. 24:00")

    def crash(*_: object) -> int:
        raise ConnectionError("the process died")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "_tell", crash)
        with pytest.raises(ConnectionError):
            search(marts_settings)
    assert (gaps(conn), alerts(conn)) == (["X 10:00-11:00 unknown"], [])
    assert search(marts_settings, now=NIGHT_AFTER + timedelta(minutes=5)).alerts == 1
    assert len(alerts(conn)) == 1


def test_two_searches_at_once_are_one(conn: psycopg.Connection, marts_settings: Settings) -> None:
    with lease(conn, "gaps", seconds=60), pytest.raises(LeaseHeldError, match="the step gaps runs already"):
        find_gaps(marts_settings)


def test_a_window_is_searched_again_when_asked(conn: psycopg.Connection, marts_settings: Settings) -> None:
    traded(conn, "X", "00:00 .. 10:00", "11:00 .. 24:00")
    search(marts_settings)
    conn.execute("delete from marts.gaps")
    find_gaps(marts_settings, window=Window(at("09:00"), at("12:00")), now=NIGHT_AFTER)
    assert gaps(conn) == ["X 10:00-11:00 unknown"]


def test_what_to_fetch_is_merged_and_cut_to_the_window(conn: psycopg.Connection, marts_settings: Settings) -> None:
    traded(conn, "X", "00:00 .. 10:00", "10:30 .. 20:00", "+1 01:00 .. +1 03:00")
    traded(conn, "Y", "00:00 .. 10:00", "11:00 .. +1 03:00")
    search(marts_settings)
    window = Window(at("10:10"), at("+2 00:00"))
    assert missing(conn, source="binance", window=window) == [
        ("X", Window(at("10:10"), at("10:30"))),
        ("X", Window(at("20:00"), at("+1 01:00"))),  # over midnight, in one piece
        ("Y", Window(at("10:10"), at("11:00"))),
    ]
    assert missing(conn, source="binance", window=window, symbols=["Y"]) == [("Y", Window(at("10:10"), at("11:00")))]
    assert missing(conn, source="kraken", window=window) == []
