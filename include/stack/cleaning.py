"""Airflow's record of past runs, cleaned by Airflow's own command."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Final

from include.errors import NotRunningError
from include.settings import ROOT, Settings
from include.stack.airflow import command_environment

# What grows with each minute. Not `dag`, which is what Airflow knows, and not `trigger`: a task that waits for days
# (a vendor's budget) holds on to its own.
TABLES: Final = (
    "dag_run", "task_instance", "task_instance_history", "xcom", "log", "asset_event", "job", "import_error",
    "task_reschedule", "callback",
)  # fmt: skip


def clean_airflow(settings: Settings, *, now: datetime | None = None) -> str:
    """Remove runs, tasks and log entries older than `keep_logs_days`; the last run of each DAG stays.

    Needs Airflow's database, which its tasks do not reach but its command does. Raises NotRunningError with the
    command's last words.
    """
    if not settings.keep_logs_days:
        return "QUANTSTREAM_KEEP_LOGS_DAYS is 0: all runs stay"
    before = (now or datetime.now(UTC)) - timedelta(days=settings.keep_logs_days)
    done = subprocess.run(
        [
            sys.executable, "-m", "airflow", "db", "clean", "--yes", "--skip-archive", "--tables", ",".join(TABLES),
            "--clean-before-timestamp", before.isoformat(timespec="seconds"),
        ],
        env=command_environment(settings), cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise NotRunningError(f"`airflow db clean` failed:\n{(done.stderr or done.stdout).strip()[-1500:]}")
    return f"runs before {before:%Y-%m-%d} are removed"
