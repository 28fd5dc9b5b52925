"""What tasks have in common, of the minute and of the past: who owns them, where they run, how they are retried."""

from __future__ import annotations

import os
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

_NICENESS: Final = 10


def be_nice(_: object = None) -> None:
    """Let every other process go first on a busy processor. Once for this process, however often it is called.

    (The argument is what Airflow hands to `pre_execute`.)
    """
    os.nice(max(0, _NICENESS - os.nice(0)))


HISTORY_TASK: Final[dict[str, Any]] = {
    "owner": "quantstream",
    "pool": "history",
    "priority_weight": 0,  # the minute's tasks have 1 or more, and come first
    "weight_rule": "absolute",
    "retries": 5,
    "retry_delay": timedelta(seconds=20),
    "retry_exponential_backoff": 2,
    "max_retry_delay": timedelta(minutes=10),
    "execution_timeout": timedelta(hours=2),
    "pre_execute": be_nice,
}
"""The same for work on the past, which may take long and never goes before the minute: its processes are nice."""
