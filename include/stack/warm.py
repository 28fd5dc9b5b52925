"""Heavy imports once, in the scheduler, before it forks: tasks inherit them instead of paying for them.

LocalExecutor forks its workers when it starts, and each worker forks a process per task; both keep what was imported.
`preload` runs from Airflow's `airflow_local_settings` in every Airflow process and does its work in the scheduler only.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def preload() -> None:
    """Import what tasks use, if this is the scheduler. A part that fails is logged; tasks then import it themselves."""
    if sys.argv[1:2] != ["scheduler"]:
        return
    die_with_parent()
    for name, part in _PARTS.items():
        started = time.monotonic()
        try:
            part()
        except Exception as error:
            _say(f"{name} is not warm, tasks import it themselves: {type(error).__name__}: {error}")
        else:
            _say(f"{name} is warm after {time.monotonic() - started:.1f} s")


def die_with_parent() -> None:
    """Let every process forked from here on end with its parent (Linux): a killed scheduler leaves no worker or task.

    Without this, workers of a killed scheduler wait for ever on a queue that nobody fills, and their tasks go on beside
    the retry.
    """
    if not sys.platform.startswith("linux"):
        return
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def remember() -> None:
        nonlocal parent
        parent = os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    os.register_at_fork(before=remember, after_in_child=ask)


def _say(text: str) -> None:
    sys.stderr.write(f"warm-up: {text}\n")  # into the scheduler's log; Airflow sets its logging up only after this


def hostname() -> str:
    """Airflow's host name for logs and jobs: everything is on this machine, and asking DNS may take seconds."""
    return "127.0.0.1"


def _data() -> None:
    for name in ("numpy", "orjson", "pandas", "psycopg", "httpx", "tenacity", "rich.console"):
        importlib.import_module(name)


def _aws() -> None:
    from include.aws import Service, client
    from include.settings import get_settings

    services: tuple[Service, ...] = ("kinesis", "s3", "sns", "sqs")
    for service in services:
        client(get_settings(), service)  # the session keeps the parsed service models


def _pipeline() -> None:
    for step in ("pull", "land", "load", "audit", "transform", "detect", "notify", "history_day", "backfill"):
        importlib.import_module(f"include.pipeline.{step}")


def _exchange_hours() -> None:
    from datetime import UTC, datetime

    from include.calendars import preload as preload_hours
    from include.pipeline.clock import source_calendars
    from include.settings import get_settings

    found = source_calendars(get_settings()).values()
    preload_hours({name for calendars in found for name in calendars}, datetime.now(UTC))


def _quality() -> None:
    importlib.import_module("include.quality.audit").preload()


def _transform() -> None:
    importlib.import_module("include.transform.runner").preload()


_PARTS: Final[dict[str, Callable[[], None]]] = {
    "pandas and psycopg": _data,
    "boto3": _aws,
    "the pipeline's steps": _pipeline,
    "exchange hours": _exchange_hours,
    "Great Expectations": _quality,
    "dbt": _transform,
}
