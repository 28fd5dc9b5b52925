"""`quantstream analyst`: people who read the marts with a role and a password of their own."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from include.errors import ConfigError, NotRunningError

if TYPE_CHECKING:
    import psycopg

    from include.settings import Settings

app = typer.Typer(help="People who read the marts with a role and a password of their own.", no_args_is_help=True)

_ADD_EPILOG = """
Examples:

  quantstream analyst add maria                         # prints the password, once

  quantstream analyst add maria --new-password          # she has lost it

  docker compose run --rm provision quantstream analyst add maria
"""
_LIST_EPILOG = """
Examples:

  quantstream analyst list

  quantstream analyst list --json | jq -r .name
"""
_REMOVE_EPILOG = """
Example:

  quantstream analyst remove maria                      # her sessions end at once
"""
_Name = Annotated[str, typer.Argument(help="The role's name: small letters, digits and _.", show_default=False)]


@app.command(epilog=_ADD_EPILOG)
def add(
    name: _Name,
    new_password: Annotated[
        bool, typer.Option("--new-password", help="Of one who is there: another password.")
    ] = False,
) -> None:
    """Make a role that reads the marts, within the limits of the settings, and print its generated password.

    The password is kept nowhere, and the server is told its hash only.
    """
    from include.settings import load_settings
    from include.stack import analysts

    settings = load_settings()
    where = _warehouse(settings)
    with _administrator(settings) as conn:
        password = analysts.add(
            conn,
            name,
            database=where["dbname"],
            first=_first(settings),
            limits=analysts.Limits.of(settings),
            renew=new_password,
        )
    typer.echo(password)
    typer.echo(
        f"the password of {name}, told only now; "
        f"psql -h {where['host']} -p {where.get('port', 5432)} -U {name} {where['dbname']}",
        err=True,
    )


@app.command("list", epilog=_LIST_EPILOG)
def list_analysts(as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False) -> None:
    """Who may read the marts, and how many sessions each has open."""
    from rich.table import Table

    from include.commands.tables import print_table
    from include.settings import load_settings
    from include.stack import analysts

    settings = load_settings()
    with _administrator(settings) as conn:
        found = analysts.listed(conn, _first(settings))
    if as_json:
        for one in found:
            typer.echo(json.dumps(asdict(one)))
        return
    table = Table("name", "sessions", "at most", header_style="bold")
    for one in found:
        table.add_row(one.name, str(one.sessions), str(one.connections))
    print_table(table)


@app.command(epilog=_REMOVE_EPILOG)
def remove(name: _Name) -> None:
    """End a person's sessions and remove the role."""
    from include.settings import load_settings
    from include.stack import analysts

    settings = load_settings()
    with _administrator(settings) as conn:
        analysts.remove(conn, name, first=_first(settings))
    typer.echo(f"{name} is removed", err=True)


def _administrator(settings: Settings) -> psycopg.Connection:
    """Who makes roles: QUANTSTREAM_ADMIN_DSN, or the embedded Postgres's superuser."""
    from include.stack.layout import Layout
    from include.stack.postgres import admin_dsn
    from include.stack.roles import connect_administrator
    from include.stack.secrets import load_secrets

    if settings.admin_dsn is not None:
        return connect_administrator(settings.admin_dsn.get_secret_value())
    if settings.postgres == "external":
        raise ConfigError("QUANTSTREAM_ADMIN_DSN is not set: only an administrator of this Postgres makes roles")
    layout = Layout(settings.home)
    if not layout.secrets.exists():
        raise NotRunningError(f"there is no platform in {settings.home}: `make up` makes one")
    return connect_administrator(admin_dsn(settings.postgres_port, load_secrets(layout).postgres))


def _warehouse(settings: Settings) -> dict[str, str]:
    import psycopg

    if settings.analyst_dsn is None:
        raise NotRunningError("no warehouse: run `make up` (embedded Postgres), or set QUANTSTREAM_ANALYST_DSN")
    address = psycopg.conninfo.conninfo_to_dict(settings.analyst_dsn.get_secret_value())
    return {name: str(value) for name, value in address.items() if value is not None}


def _first(settings: Settings) -> str:
    return _warehouse(settings)["user"]
