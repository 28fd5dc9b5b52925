"""`quantstream airflow ...`: Airflow's own command line, with this stack's configuration."""

from __future__ import annotations

from typing import Annotated, Any

import typer

EPILOG = """
Examples:

  quantstream airflow dags list

  quantstream airflow tasks test market_ingest land 2030-01-01
"""
CONTEXT: dict[str, Any] = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}


def airflow(
    arguments: Annotated[list[str] | None, typer.Argument(help="What comes after `airflow`.")] = None,
) -> None:
    """Airflow's own command line with this stack's configuration; its exit code is passed on."""
    import os
    import sys

    from include.errors import NotRunningError
    from include.settings import load_settings
    from include.stack.airflow import command_environment
    from include.stack.layout import Layout

    settings = load_settings()
    if not (Layout(settings.home).airflow / "airflow.cfg").exists():
        raise NotRunningError(f"there is no Airflow in {settings.home} yet; `make up` makes it")
    command = [sys.executable, "-m", "airflow", *(arguments or ["--help"])]
    os.execvpe(command[0], command, command_environment(settings))  # noqa: S606  # a fixed program, no shell
