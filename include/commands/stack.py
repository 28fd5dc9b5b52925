"""`quantstream up`, `down` and `clean`."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from include.errors import QuantStreamError

UP_EPILOG = """
Examples:

  quantstream up

  quantstream up --no-airflow               # only the database and the local AWS, for `quantstream run`

  QUANTSTREAM_AIRFLOW_PORT=9090 quantstream up
"""
DOWN_EPILOG = """
Example:

  quantstream down && quantstream up        # goes on where it stopped
"""
CLEAN_EPILOG = """
Example:

  quantstream clean --yes                   # start over: database, lake, stream and logs are gone
"""


def up(
    airflow: Annotated[bool, typer.Option(help="Start Airflow as well, and wait for its first full minute.")] = True,
) -> None:
    """Start the platform on this machine, or bring a running one up to date.

    Ports are those of the settings, or the next free ones. State is kept in .quantstream/ (QUANTSTREAM_HOME).
    """
    from rich.console import Console

    from include.commands.greeting import greet
    from include.settings import load_settings
    from include.stack.up import up as start

    console = Console()
    greet(start(load_settings(), console, airflow=airflow), console, airflow=airflow)


def down() -> None:
    """Stop every process that `up` started, and only those. State stays; `up` goes on where it stopped."""
    from rich.console import Console

    from include.settings import load_settings
    from include.stack.down import down as stop

    settings, console = load_settings(), Console()
    if stop(settings, console):
        console.print(f"Stopped. The state is in {settings.home}; `make up` goes on from there.", soft_wrap=True)
    else:
        console.print("Nothing runs.")


def clean(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Stop the platform and remove its state: database, lake, stream, logs, passwords."""
    from rich.console import Console

    from include.settings import load_settings
    from include.stack.down import down as stop
    from include.stack.down import is_stack_home, remove_home

    settings, console = load_settings(), Console()
    if not settings.home.exists():
        console.print(f"Nothing to remove: {settings.home} does not exist.", soft_wrap=True)
        return
    if not is_stack_home(settings):
        raise QuantStreamError(f"{settings.home} was not made by `quantstream up`; nothing was removed")
    if not yes:
        confirmed = False
        with contextlib.suppress(typer.Abort):  # no terminal to ask at
            confirmed = typer.confirm(f"Stop the platform and remove {settings.home} with all data in it?")
        if not confirmed:
            raise QuantStreamError("nothing was removed (`--yes` does it without asking)")
    stop(settings, console)
    remove_home(settings)
    console.print(f"Removed {settings.home}.", soft_wrap=True)
