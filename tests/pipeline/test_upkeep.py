"""The daily upkeep: old rows and old logs go, each by its own setting."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from include.errors import LeaseHeldError, TransformError
from include.pipeline.transform import transform
from include.pipeline.upkeep import UpkeepReport, remove_logs, upkeep
from include.settings import Settings
from include.warehouse.db import connect
from include.warehouse.leases import lease

NOW = datetime(2026, 3, 31, tzinfo=UTC)


def log(path: Path, days_old: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("said")
    at = (NOW - timedelta(days=days_old)).timestamp()
    os.utime(path, (at, at))
    return path


def aged(folder: Path, days_old: float) -> None:
    at = (NOW - timedelta(days=days_old)).timestamp()
    os.utime(folder, (at, at))


def test_old_log_files_go_and_the_folders_they_leave_empty(tmp_path: Path) -> None:
    log(tmp_path / "dag=a/run=1/task.log", 15)
    log(tmp_path / "dag=a/run=2/task.log", 13)

    assert remove_logs(tmp_path, 14, NOW) == 1
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.log")) == ["dag=a/run=2/task.log"]

    aged(tmp_path / "dag=a/run=1", 15)
    assert remove_logs(tmp_path, 14, NOW) == 0
    assert [path.name for path in (tmp_path / "dag=a").iterdir()] == ["run=2"]


def test_zero_days_keep_all_logs_and_no_folder_is_no_error(tmp_path: Path) -> None:
    log(tmp_path / "old.log", 4000)

    assert remove_logs(tmp_path, 0, NOW) == 0
    assert remove_logs(tmp_path / "none", 14, NOW) == 0
    assert (tmp_path / "old.log").exists()


def test_a_link_goes_what_it_points_to_stays(tmp_path: Path) -> None:
    kept = log(tmp_path / "elsewhere/kept.log", 40)
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "latest").symlink_to(kept)
    os.utime(logs / "latest", ((NOW - timedelta(days=40)).timestamp(),) * 2, follow_symlinks=False)

    assert remove_logs(logs, 14, NOW) == 1
    assert kept.exists()


def test_it_is_one_outcome_that_says_what_went(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(keep_quarantine_days=7)
    with connect(settings) as conn:
        conn.execute(
            "insert into raw.rejected_events (origin, line_number, reason, raw, rejected_at) "
            "values ('a', 1, '', '', %s)",
            [NOW - timedelta(days=8)],
        )
    log(settings.home / "airflow/logs/old.log", 15)

    assert upkeep(settings, now=NOW) == UpkeepReport({"quarantine": 1, "ledger": 0}, files=1)

    with connect(settings) as conn:
        assert conn.execute("select step, ok, row_count, detail from ops.outcomes").fetchall() == [
            ("upkeep", True, 1, {"rows": {"quarantine": 1, "ledger": 0}, "files": 1})
        ]
    assert str(upkeep(settings, now=NOW)) == "nothing was past its time"


def test_two_at_once_are_one(settings: Settings) -> None:
    with connect(settings) as conn, lease(conn, "upkeep", seconds=60), pytest.raises(LeaseHeldError):
        upkeep(settings, now=NOW)


def test_a_full_refresh_is_refused_once_raw_events_were_removed(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        conn.execute("insert into ops.removed (what, before, row_count) values ('events', %s, 7)", [NOW])

    with pytest.raises(TransformError, match=r"before 2026-03-31T.* are in the lake alone .*`quantstream rebuild`"):
        transform(marts_settings, full_refresh=True)
