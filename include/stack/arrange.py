"""Decide ports and addresses of the local stack and write them down, before anything starts."""

from __future__ import annotations

from collections.abc import Collection

from pydantic import SecretStr

from include.errors import ConfigError
from include.settings import PREFIX, Settings
from include.stack import ports, postgres
from include.stack.layout import Layout, write_private
from include.stack.secrets import Secrets

_PORTS = {"postgres": "postgres_port", "aws": "aws_port", "api-server": "airflow_port"}


def arrange(
    settings: Settings, secrets: Secrets, *, running: Collection[str], airflow: bool
) -> tuple[Settings, list[str]]:
    """The settings with free ports and the addresses that follow from them, and what a person should know about it.

    `running` names the programs that run already: they keep their ports. Raises ConfigError for a port that the user
    asked for and somebody else has, and for an external service without its address.
    """
    wanted = {
        program: setting
        for program, setting in _PORTS.items()
        if not (program == "postgres" and settings.postgres == "external")
        and not (program == "aws" and settings.aws == "aws")
        and not (program == "api-server" and not airflow)
    }
    chosen: dict[str, object] = {}
    notes: list[str] = []
    taken: list[int] = []
    for program, setting in wanted.items():
        port = int(getattr(settings, setting))
        if program not in running:
            free = ports.choose(setting, port, explicit=ports.is_explicit(setting), taken=taken)
            if free != port:
                notes.append(f"port {port} is in use by {ports.holder(port)}: {program} takes {free}")
            port = free
        chosen[setting] = port
        taken.append(port)
    settings = settings.model_copy(update=chosen)
    return settings.model_copy(update=_addresses(settings, secrets)), notes


def _addresses(settings: Settings, secrets: Secrets) -> dict[str, object]:
    found: dict[str, object] = {}
    if settings.postgres == "embedded":
        dsns = postgres.dsns(settings.postgres_port, secrets.postgres)
        found |= {name: SecretStr(dsn) for name, dsn in dsns.items() if not ports.is_explicit(name)}
    else:
        missing = [name for name in ("warehouse_dsn", "analyst_dsn", "airflow_dsn") if getattr(settings, name) is None]
        if missing:
            names = ", ".join(PREFIX + name.upper() for name in missing)
            raise ConfigError(f"{PREFIX}POSTGRES = 'external' needs the addresses of the databases: set {names}")
    if settings.aws == "local" and not ports.is_explicit("aws_endpoint_url"):
        found["aws_endpoint_url"] = f"http://127.0.0.1:{settings.aws_port}"
    return found


def write_stack_env(settings: Settings) -> None:
    """Write what was chosen and generated to `<home>/stack.env`, where every process of the stack reads it."""
    names = ["airflow_port", "topic_arn", "inbox_url"]
    if settings.postgres == "embedded":
        names += ["postgres_port", "warehouse_dsn", "analyst_dsn", "airflow_dsn"]
    if settings.aws == "local":
        names += ["aws_port", "aws_endpoint_url"]
    lines = ["# Written by `quantstream up`. Settings of your own belong in .env, which wins over this file."]
    for name in sorted(names):
        value = getattr(settings, name)
        if value is not None:
            lines.append(
                f"{PREFIX}{name.upper()}={value.get_secret_value() if isinstance(value, SecretStr) else value}"
            )
    write_private(Layout(settings.home).stack_env, "\n".join(lines) + "\n")
