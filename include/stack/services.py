"""Start the parts of the stack and wait until each really works."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from include.errors import NotRunningError
from include.settings import ROOT, Settings
from include.stack import airflow, local_aws, postgres
from include.stack.airflow_api import AirflowApi
from include.stack.analysts import Limits
from include.stack.layout import Layout, fingerprint
from include.stack.local_aws import Provisioned
from include.stack.programs import AIRFLOW, COLLECTORS
from include.stack.secrets import Secrets
from include.stack.supervision import Supervisor

T = TypeVar("T")
_TRIES = 3
_DEAD = ("FATAL", "EXITED", "STOPPED", "UNKNOWN")


def start_database(settings: Settings, secrets: Secrets, supervisor: Supervisor) -> bool:
    """The embedded Postgres with its roles and databases. False if it ran already."""
    layout = Layout(settings.home)
    postgres.initialize(layout.postgres, secrets.postgres)
    started = supervisor.start_program("postgres")
    wait(supervisor, "postgres", lambda: postgres.ping(settings.postgres_port, secrets.postgres), 120)
    postgres.provision(settings.postgres_port, secrets.postgres, Limits.of(settings))
    return started


def start_aws(settings: Settings, supervisor: Supervisor) -> tuple[Settings, str]:
    """The local AWS with stream, bucket, topic and inbox, or these on real AWS.

    Returns the settings that name them, and a line for the screen.
    """
    where = f"MiniStack on port {settings.aws_port}"
    if settings.aws == "aws":
        made = local_aws.provision_with_lake(settings)
        where = settings.aws_region
    elif not supervisor.start_program("aws"):
        made = wait(supervisor, "aws", lambda: _provisioned(settings, supervisor), 90)
        return _named(settings, made), f"{where}, ran already"
    else:
        made = wait(supervisor, "aws", lambda: _provisioned(settings, supervisor), 90)
    return _named(settings, made), f"{where}: made {', '.join(made.created)}" if made.created else where


def start_airflow(settings: Settings, supervisor: Supervisor) -> list[str]:
    """All components of Airflow at once. Returns those that did not run before.

    The scheduler has the library in memory, for its tasks: if the code changed since, it is started anew.
    """
    if _code_changed(settings, "code.sha256"):
        supervisor.stop_programs(["scheduler"])
    return [name for name in AIRFLOW if supervisor.start_program(name)]


def start_collectors(settings: Settings, supervisor: Supervisor) -> list[str]:
    """The collectors that the settings ask for; others are stopped, and all are started anew if the code changed.

    Returns those that did not run before. Nobody waits for their vendors: a collector goes on trying by itself.
    """
    wanted = [COLLECTORS[exchange] for exchange in settings.collect]
    is_new = _code_changed(settings, "collectors.sha256")
    supervisor.stop_programs([name for name in COLLECTORS.values() if is_new or name not in wanted])
    return [name for name in wanted if supervisor.start_program(name)]


def wait_for_airflow(settings: Settings, secrets: Secrets, supervisor: Supervisor) -> None:
    """Until every component is healthy and every DAG of ours is known; then the pools are there too."""
    healthy = {"metadatabase", "scheduler", "triggerer", "dag_processor"}
    with AirflowApi(settings, secrets) as api:

        def ready() -> bool:
            processes = supervisor.processes()
            if not all(processes[name].state == "RUNNING" for name in AIRFLOW):
                return False  # what answers may be somebody else's Airflow, on the port that was free a moment ago
            with suppress(NotRunningError):
                return healthy <= {name for name, state in api.health().items() if state == "healthy"}
            return False

        def known() -> bool:
            errors = api.import_errors()
            if errors:
                raise NotRunningError("Airflow cannot import its DAGs:\n" + "\n".join(errors))
            return {path.stem for path in (ROOT / "dags").glob("*.py")} <= set(api.dags())

        wait(supervisor, AIRFLOW, ready, 240)
        api.make_pools()
        wait(supervisor, AIRFLOW, known, 120)


def wait(supervisor: Supervisor, names: str | tuple[str, ...], ready: Callable[[], T | None], seconds: float) -> T:
    """Poll until `ready` gives something true.

    Raises NotRunningError, with the end of the program's log, if one of the named programs dies first or time is up.
    """
    watched = (names,) if isinstance(names, str) else names
    starts: dict[str, set[float]] = {name: set() for name in watched}  # a program that fails at once is tried again
    end = time.monotonic() + seconds
    while not (answer := ready()):
        if supervisor.give_up.is_set():
            raise NotRunningError("given up, because another part failed")
        processes = supervisor.processes()
        for name in set(watched) & set(processes):
            starts[name].add(processes[name].started)
        dead = [
            name
            for name in watched
            if name not in processes
            or processes[name].state in _DEAD
            or (processes[name].state == "BACKOFF" and len(starts[name]) >= _TRIES)
        ]
        if dead or time.monotonic() > end:
            name = (dead or watched)[0]
            what = "stopped while starting" if dead else f"is not ready after {seconds:g} s"
            log = supervisor.log_file(name)
            raise NotRunningError(f"{name} {what}. The end of its log ({log}):\n{airflow.last_lines(log)}")
        time.sleep(0.1)
    return answer


def _code_changed(settings: Settings, note_name: str) -> bool:
    """Whether the library is another one than when this note was last taken; takes it."""
    note = Layout(settings.home).run / note_name
    code = fingerprint(path for path in (ROOT / "include").rglob("*.py"))
    changed = note.exists() and note.read_text(encoding="utf-8") != code
    note.write_text(code, encoding="utf-8")
    return changed


def _named(settings: Settings, made: Provisioned) -> Settings:
    return settings.model_copy(update={"topic_arn": made.topic_arn, "inbox_url": made.inbox_url})


def _provisioned(settings: Settings, supervisor: Supervisor) -> Provisioned | None:
    with suppress(OSError, ValueError, KeyError):
        said = json.loads(Layout(settings.home).provisioned.read_text(encoding="utf-8"))
        process = supervisor.processes().get("aws")
        if process is not None and process.pid == said["pid"]:  # not what an earlier process said
            return Provisioned(said["topic_arn"], said["inbox_url"], tuple(said["created"]))
    return None
