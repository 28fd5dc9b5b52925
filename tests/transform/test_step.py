"""The step: which loads are taken, when they count as transformed, and what a failure leaves behind."""

from __future__ import annotations

from datetime import timedelta

import pytest

from include.errors import LeaseHeldError, TransformError
from include.pipeline.transform import transform
from include.settings import Settings
from include.transform.runner import build_all, build_changed
from include.warehouse.db import connect
from include.warehouse.leases import lease
from tests.transform.events import accept, at, quote
from tests.transform.marts import rows

LEDGER = (
    "select (select array_agg(state order by load_id) from ops.loads), (select count(*) from ops.transform_batch), "
    "(select array_agg((symbol, to_char(from_candle, 'HH24:MI'), version)::text order by symbol) from ops.detect_queue)"
)


def test_all_accepted_loads_are_taken_at_once_and_queued_for_detection(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        accept(conn, [quote("AAPL", "10:03", 10), quote("AAPL", "10:01", 10)])
        accept(conn, [quote("BTC-USD", "10:02", 9)])
        report = transform(marts_settings)
        assert (report.loads, report.events, report.candles, report.symbols) == (2, 3, 3, 2)
        assert str(report) == "2 loads with 3 events: 3 candles of 2 symbols"
        assert report.seconds["indicators_1m"] > 0
        states = ["transformed", "transformed"]
        assert rows(conn, LEDGER) == [(states, 0, ["(AAPL,10:01,1)", "(BTC-USD,10:02,1)"])]
        assert rows(conn, "select ok, row_count from ops.outcomes where step = 'transform'") == [(True, 3)]


def test_without_a_new_load_nothing_is_built(marts_settings: Settings) -> None:
    report = transform(marts_settings)
    assert not report.loads and not report.seconds
    assert str(report) == "no new load, nothing to do"


def test_a_later_batch_moves_the_queue_only_further_back(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        for clock in ("10:05", "10:09", "10:02"):
            accept(conn, [quote("AAPL", clock, 10)])
            transform(marts_settings)
        assert rows(conn, "select symbol, from_candle, version from ops.detect_queue") == [("AAPL", at("10:02"), 3)]


def test_the_batch_of_a_run_that_died_is_taken_again(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        accept(conn, [quote("AAPL", "10:01", 10)])
        build_changed(marts_settings)  # and no more
        assert rows(conn, LEDGER) == [(["accepted"], 1, None)]
        accept(conn, [quote("BTC-USD", "10:02", 9)])
        assert transform(marts_settings).loads == 2
        assert rows(conn, LEDGER)[0][2] == ["(AAPL,10:01,1)", "(BTC-USD,10:02,1)"]


def test_a_load_accepted_meanwhile_waits_for_the_next_run(
    marts_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(marts_settings) as conn:
        accept(conn, [quote("AAPL", "10:01", 10)])

        def late(_: Settings) -> None:
            accept(conn, [quote("AAPL", "10:02", 11)], {"simulator": at("10:03")})

        monkeypatch.setattr("include.pipeline.transform._audit", late)
        assert transform(marts_settings).loads == 1
        assert rows(conn, LEDGER)[0][0] == ["transformed", "accepted"]
        assert rows(conn, "select is_final from marts.candles_1m") == [(False,)]


def test_a_failed_test_names_itself_and_the_loads_stay(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        accept(conn, [quote("NOBODY", "10:01", 10)])  # no such instrument; the audit would have stopped it
        with pytest.raises(TransformError, match=r"(?s)test quotes_are_sound: Got 1 result.*its SQL: .*dbt\.log"):
            transform(marts_settings)
        assert rows(conn, LEDGER) == [(["accepted"], 1, None)]
        assert rows(conn, "select ok, error like 'TransformError: dbt failed%' from ops.outcomes") == [(False, True)]


def test_a_second_transform_at_the_same_time_is_refused(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn, lease(conn, "transform", seconds=60), pytest.raises(LeaseHeldError):
        transform(marts_settings)


def test_whoever_lost_the_lease_writes_no_mart(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        accept(conn, [quote("AAPL", "10:01", 10)])
        with lease(conn, "transform", seconds=60) as held, pytest.raises(TransformError, match="was taken over"):
            build_changed(marts_settings, epoch=held.epoch + 1)
        assert rows(conn, "select 1 from marts.quotes") == []


def test_a_long_build_keeps_its_lease(marts_settings: Settings) -> None:
    expires = "select expires_at from ops.leases"
    with (
        connect(marts_settings) as conn,
        connect(marts_settings) as other,
        lease(conn, "transform", seconds=1) as held,
        held.kept(),
    ):
        before = rows(other, expires)[0][0]
        rows(other, "select pg_sleep(1.5)")
        assert rows(other, expires)[0][0] > before + timedelta(seconds=1)


def test_a_full_refresh_needs_no_new_load(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        accept(conn, [quote("AAPL", "10:01", 10)])
        transform(marts_settings)
        conn.execute("update marts.candles_1m set close = 11, high = 11")
        report = transform(marts_settings, full_refresh=True)
        assert (report.loads, report.candles) == (0, 0)
        assert rows(conn, "select high, close from marts.candles_1m") == [(10, 10)]


def test_a_minute_tests_what_changed_and_build_all_whole_tables(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        accept(conn, [quote("AAPL", "10:01", 10)])
        transform(marts_settings)
        conn.execute("update marts.candles_5m set low = 20")
        accept(conn, [quote("AAPL", "11:01", 10)])
        transform(marts_settings)  # does not look at 10:00
        with pytest.raises(TransformError, match=r"(?s)candles_5m_are_sound.*candles_hold_their_parts"):
            build_all(marts_settings)
