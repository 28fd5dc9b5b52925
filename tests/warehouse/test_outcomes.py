"""One row per attempt, whatever became of the attempt's own transaction."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from include.events import Window
from include.settings import Settings
from include.warehouse.db import connect
from include.warehouse.outcomes import attempt, record, without_secrets

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
MINUTE = Window(NOON, NOON + timedelta(minutes=1))


def outcomes(settings: Settings, columns: str = "step, ok, row_count, error") -> list[tuple[object, ...]]:
    with connect(settings) as conn:
        return conn.execute(f"select {columns} from ops.outcomes order by outcome_id").fetchall()


def test_a_success_is_a_row_with_what_the_block_said(settings: Settings) -> None:
    with connect(settings) as conn, attempt(conn, "pull", source="simulator", window=MINUTE, run_id="r1") as this:
        this.row_count = 25
        this.detail["symbols"] = 25
    assert outcomes(settings, "step, source, window_start, window_end, ok, row_count, run_id, error, detail") == [
        ("pull", "simulator", MINUTE.start, MINUTE.end, True, 25, "r1", None, {"symbols": 25})
    ]
    assert outcomes(settings, "seconds between 0 and 5, at <= now()") == [(True, True)]


def test_a_failure_is_a_row_and_goes_on(settings: Settings) -> None:
    with connect(settings) as conn, pytest.raises(ValueError, match="no price"), attempt(conn, "pull"):
        raise ValueError("no price")
    assert outcomes(settings) == [("pull", False, None, "ValueError: no price")]


def test_the_row_outlives_the_rollback_of_the_transaction_around_it(settings: Settings) -> None:
    with (
        connect(settings) as conn,
        pytest.raises(psycopg.errors.DivisionByZero),
        conn.transaction(),
        attempt(conn, "load"),
    ):
        conn.execute("select 1 / 0")
    assert outcomes(settings) == [("load", False, None, "DivisionByZero: division by zero")]


@pytest.mark.parametrize("how", ["closed here", "ended by the server"])
def test_the_row_outlives_its_connection(settings: Settings, how: str) -> None:
    with (
        connect(settings) as conn,
        connect(settings) as other,
        pytest.raises(OSError, match="gone"),
        attempt(conn, "load"),
    ):
        if how == "closed here":
            conn.close()
        else:
            other.execute("select pg_terminate_backend(%s, 5000)", [conn.info.backend_pid])
        raise OSError("gone")
    assert outcomes(settings) == [("load", False, None, "OSError: gone")]


def test_a_warehouse_that_is_gone_leaves_the_error_as_it_is_and_a_line_in_the_log(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        connect(settings) as conn,
        caplog.at_level(logging.WARNING),
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(OSError, match="gone"),
        attempt(conn, "load"),
    ):
        conn.close()
        patch.setattr(psycopg, "connect", lambda *_, **__: (_ for _ in ()).throw(psycopg.OperationalError("down")))
        raise OSError("gone")
    assert "the outcome of load could not be written; it was: OSError: gone" in caplog.text


def test_a_recorded_row_goes_with_its_transaction(settings: Settings) -> None:
    with connect(settings) as conn:
        with pytest.raises(RuntimeError), conn.transaction():
            record(conn, "audit", True, row_count=1)
            raise RuntimeError
        record(conn, "audit", True, row_count=2)
    assert outcomes(settings) == [("audit", True, 2, None)]


def test_a_row_takes_any_text_and_any_detail(settings: Settings) -> None:
    with connect(settings) as conn:
        record(conn, "pull", False, error="a\x00b \ud800" + "x" * 3000, detail={"when": NOON, "nul": "\x00", 1: {2}})
    ((error, when),) = outcomes(settings, "error, detail ->> 'when'")
    assert str(error).startswith("a\\0b ?xxx")
    assert len(str(error)) == 2000
    assert when == "2026-01-02T12:00:00+00:00"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("postgresql://quant:s3cret@db:5432/x refused", "postgresql://***@db:5432/x refused"),
        ("connect: user=a password=hunter2 host=b", "connect: user=a password=*** host=b"),
        ("GET /coins?x_cg_demo_api_key=CG-1234&page=2: 401", "GET /coins?x_cg_demo_api_key=***&page=2: 401"),
        ("x-cg-pro-api-key: CG-1234", "x-cg-pro-api-key: ***"),
        ('{"token": "abc", "n": 1}', '{"token": "***", "n": 1}'),
        ("Authorization: Bearer abcdefgh.ij-k", "Authorization: Bearer ***"),
        ("key AKIAIOSFODNN7EXAMPLE is disabled", "key *** is disabled"),
        ("AAPL: price is 0; it must be positive", "AAPL: price is 0; it must be positive"),
    ],
)
def test_secrets_are_left_out(text: str, clean: str) -> None:
    assert without_secrets(text) == clean
