"""`provision`: everything that Airflow and the pipeline need, on a Postgres and an AWS that somebody else runs.

Starts nothing and may be repeated: it makes what is missing. The containers of docker-compose.yml run it once before
Airflow starts; on a server of your own it is the step after every upgrade.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from rich.console import Console

from include.errors import ConfigError, NotRunningError
from include.settings import PREFIX, ROOT, Settings
from include.stack import airflow, local_aws, models, past
from include.stack.analysts import Limits
from include.stack.arrange import write_stack_env
from include.stack.layout import Layout
from include.stack.progress import Steps
from include.stack.roles import make_roles
from include.stack.secrets import load_secrets

T = TypeVar("T")
_PATIENCE_SECONDS = 60.0


def provision_external(settings: Settings, console: Console, *, warm_up: bool = True) -> Settings:
    """Make what is missing, from the roles to the simulator's past. Returns the settings with topic and inbox in them.

    Roles and databases are made only where QUANTSTREAM_ADMIN_DSN is set; else they must exist. Raises ConfigError for
    missing addresses, and NotRunningError for a server that does not answer within a minute.
    """
    dsns = _dsns(settings)
    layout = Layout(settings.home)
    layout.make()
    secrets = load_secrets(layout)
    with Steps(console) as steps:
        if settings.admin_dsn is not None:
            with steps.step("roles and databases"):
                admin = settings.admin_dsn.get_secret_value()
                open_to_all = _patiently(lambda: make_roles(admin, **dsns, limits=Limits.of(settings)))
            if open_to_all:
                steps.note(f"everybody may enter {', '.join(open_to_all)} on this server, analysts too: docs/roles.md")
        if settings.owner_dsn is None:
            steps.note("QUANTSTREAM_OWNER_DSN is not set: the pipeline's role owns the warehouse; docs/roles.md")
        with steps.step("AWS") as line:
            made = _patiently(lambda: _aws(settings))
            settings = settings.model_copy(update={"topic_arn": made.topic_arn, "inbox_url": made.inbox_url})
            write_stack_env(settings)
            line.say(f"made {', '.join(made.created)}" if made.created else "is complete")
        with steps.step("warehouse") as line:
            from include.warehouse.migrate import migrate

            line.say(f"schema at revision {migrate(settings)}")
        if not models.up_to_date(settings):
            with steps.step("models and their docs") as line:
                line.say(models.build(settings))
        with steps.step("Airflow's database") as line:
            airflow.write_configuration(settings, secrets)
            line.say("migrated" if airflow.migrate(settings) else "is up to date")
            make_pools(settings)
        if warm_up and past.wanted(settings):
            with steps.step("warm-up") as line:
                line.say(past.bring_in(settings, datetime.now(UTC)))
        steps.note(f"web UI: user {airflow.ADMIN}, password in {layout.airflow / 'passwords.json'}")
    return settings


def make_pools(settings: Settings) -> list[str]:
    """Make the pools that DAGs name, by Airflow's own command; one that exists keeps its slots. Returns those made."""
    file = Layout(settings.home).run / "pools.json"  # a file: what Airflow prints may have lines of its log in it
    _airflow(settings, "pools", "export", str(file))
    there = json.loads(file.read_text(encoding="utf-8"))
    missing = [name for name in airflow.POOLS if name not in there]
    for name in missing:
        slots, description = airflow.POOLS[name]
        _airflow(settings, "pools", "set", name, str(slots), description)
    return missing


def _dsns(settings: Settings) -> dict[str, str]:
    found = {name: getattr(settings, name) for name in ("warehouse_dsn", "analyst_dsn", "airflow_dsn")}
    missing = [PREFIX + name.upper() for name, dsn in found.items() if dsn is None]
    if settings.postgres != "external":
        raise ConfigError(
            f"{PREFIX}POSTGRES = {settings.postgres!r}: `provision` works on servers that run already; "
            f"set it to 'external', or use `make up`, which does all of this by itself"
        )
    if missing:
        raise ConfigError(
            f"{PREFIX}POSTGRES = 'external' needs the addresses of the databases: set {', '.join(missing)}"
        )
    if settings.owner_dsn is not None:
        found["owner_dsn"] = settings.owner_dsn
    return {name: dsn.get_secret_value() for name, dsn in found.items()}


def _aws(settings: Settings) -> local_aws.Provisioned:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return local_aws.provision_with_lake(settings)
    except (BotoCoreError, ClientError) as error:
        where = settings.aws_endpoint_url or f"AWS in {settings.aws_region}"
        raise NotRunningError(f"{where} refused or does not answer: {error}") from None


def _patiently(work: Callable[[], T]) -> T:
    """A server that has just been started may need a moment."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return work()
        except NotRunningError:
            if time.monotonic() > end:
                raise
            time.sleep(1)


def _airflow(settings: Settings, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "airflow", *arguments],
        env=airflow.command_environment(settings), cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise NotRunningError(f"`airflow {' '.join(arguments[:2])}` failed:\n{done.stderr.strip()[-1500:]}")
