"""`quantstream provision`: prepare a Postgres and an AWS that somebody else runs."""

from __future__ import annotations

from typing import Annotated

import typer

EPILOG = """
Examples:

  QUANTSTREAM_POSTGRES=external quantstream provision      # with the DSNs in .env

  docker compose run --rm provision                        # once more, in the containers
"""


def provision(
    warm_up: Annotated[bool, typer.Option(help="Bring in the simulator's past, the first time.")] = True,
) -> None:
    """Make roles, databases, stream, bucket, topic, tables and Airflow's configuration where they are missing.

    For an external Postgres (QUANTSTREAM_POSTGRES=external); starts nothing. `quantstream up` needs no such step.
    """
    from rich.console import Console

    from include.settings import load_settings
    from include.stack.provision import provision_external

    provision_external(load_settings(), Console(stderr=True), warm_up=warm_up)
