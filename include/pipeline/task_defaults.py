"""What every task of the minute has in common: who owns it, where it runs, how it is retried."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

MINUTE_TASK: Final[dict[str, Any]] = {
    "owner": "quantstream",
    "pool": "market",
    "retries": 3,
    "retry_delay": timedelta(seconds=3),
    "retry_exponential_backoff": 2,
    "max_retry_delay": timedelta(seconds=30),
    "execution_timeout": timedelta(minutes=2),
}
"""Airflow's `default_args`; a DAG whose tasks may take longer says so."""
