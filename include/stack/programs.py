"""The processes of the local stack: what each runs, as whom, and how it is stopped."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from include.feeds import NAMES as FEEDS
from include.settings import PREFIX, ROOT, Settings
from include.stack import local_aws, postgres
from include.stack.layout import Layout

MARKER: Final = "QUANTSTREAM_STACK"  # every process of a stack carries it, with the stack's home as value
AIRFLOW: Final = ("api-server", "scheduler", "dag-processor", "triggerer")
COLLECTORS: Final = {exchange: f"collect-{exchange}" for exchange in FEEDS}
STOP_ORDER: Final = (
    tuple(COLLECTORS.values()),
    ("scheduler", "triggerer", "dag-processor"),
    ("api-server",),
    ("aws",),
    ("postgres",),
)


@dataclass(frozen=True, slots=True)
class Program:
    """One supervised process."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    directory: str = str(ROOT)
    stop_signal: str = "TERM"
    stop_seconds: int = 30
    start_seconds: int = 1


def programs(settings: Settings, *, airflow: bool) -> list[Program]:
    """The programs that these settings ask for, in the order of their start. Collectors come with Airflow, which lands
    what they send."""
    layout = Layout(settings.home)
    found: list[Program] = []
    if settings.postgres == "embedded":
        found.append(
            Program(
                "postgres",
                tuple(postgres.command(layout.postgres, settings.postgres_port)),
                user=postgres.system_user(),
                directory="/",
                stop_signal="INT",  # "fast": running statements are aborted, then a clean checkpoint
                stop_seconds=60,
            )
        )
    if settings.aws == "local":
        found.append(
            Program(
                "aws",
                (sys.executable, "-m", "include.stack.emulator"),
                environment=local_aws.environment(layout.home, settings.aws_port),
                stop_seconds=120,  # it writes its stream and queues to disk at the end
            )
        )
    if airflow:
        found += [
            Program("api-server", _airflow("api-server"), _AIRFLOW_ENVIRONMENT, start_seconds=3),
            Program("scheduler", _airflow("scheduler", "--skip-serve-logs"), _AIRFLOW_ENVIRONMENT, start_seconds=3),
            Program("dag-processor", _airflow("dag-processor"), _AIRFLOW_ENVIRONMENT, stop_seconds=3, start_seconds=3),
            Program(
                "triggerer",
                _airflow("triggerer", "--skip-serve-logs"),
                _AIRFLOW_ENVIRONMENT,
                stop_seconds=3,
                start_seconds=3,
            ),
        ]
        found += [
            Program(
                COLLECTORS[exchange],
                (sys.executable, "-m", "include.cli", "collect", exchange),
                stop_seconds=40,  # it empties its buffer into the stream, or leaves it on disk
                start_seconds=3,
            )
            for exchange in settings.collect
        ]
    return found


def environment(settings: Settings) -> dict[str, str]:
    """The environment of every process of the stack: the caller's, less what belongs to another Airflow or Python.

    Connections named for us, as in AIRFLOW_CONN_QUANTSTREAM_POLYGON, are meant for this one.
    """
    foreign = ("AIRFLOW", "PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "PYTHONSTARTUP", "SUPERVISOR_")
    layout = Layout(settings.home)
    ours = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("AIRFLOW_CONN_QUANTSTREAM_") or not name.startswith(foreign)
    }
    return ours | {
        MARKER: str(layout.home),
        PREFIX + "HOME": str(layout.home),
        "AIRFLOW_HOME": str(layout.airflow),
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "SPT_NOENV": "1",  # process titles must not overwrite the environment, where the marker is read
        "DO_NOT_TRACK": "1",  # no tool of the stack sends usage data anywhere
        "SCARF_ANALYTICS": "false",
        "GX_ANALYTICS_ENABLED": "false",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DBT_NO_VERSION_CHECK": "1",
    }


# Forking from a thread-heavy macOS process aborts without this; elsewhere it means nothing.
_AIRFLOW_ENVIRONMENT: Final = {"OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES"}


def _airflow(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "airflow", *arguments)
