"""`quantstream analyst`: people with a role and a password of their own, and nothing but the marts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from include import cli, settings
from include.errors import ConfigError, NotRunningError
from include.settings import Settings
from include.stack.roles import make_roles
from include.warehouse.migrate import migrate
from tests.conftest import Servers
from tests.stack.house import House, house, superuser

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module", params=["superuser", "a master user as on RDS"])
def names(servers: Servers, request: pytest.FixtureRequest) -> Iterator[tuple[House, Settings]]:
    with house(servers) as made:
        admin = superuser(servers) if request.param == "superuser" else made.master(servers)
        make_roles(admin, **made.dsns())
        found = made.settings(admin_dsn=admin, analyst_statement_seconds=9, analyst_connections=2)
        migrate(found)
        yield made, found


@pytest.fixture
def analyst(names: tuple[House, Settings], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs `quantstream analyst ...` and returns its standard output, or raises its error."""
    monkeypatch.setattr(settings, "load_settings", lambda **overrides: names[1])

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(cli.app, ["analyst", *arguments])
        if done.exception is not None:
            raise done.exception
        return done.stdout

    return run


def test_a_person_comes_reads_the_marts_and_goes(names: tuple[House, Settings], analyst: Callable[..., str]) -> None:
    made, _ = names
    maria, platform = made.role("maria"), made.role("analyst")
    first = analyst("add", maria).strip()
    second = analyst("add", maria, "--new-password").strip()
    assert len(first) == len(second) == 24 and first != second
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(made.dsn("maria", "house", first))

    with psycopg.connect(made.dsn("maria", "house", second), autocommit=True) as conn:
        assert conn.execute("select count(*) from alerts").fetchone() == (0,)
        assert conn.execute("show statement_timeout").fetchone() == ("9s",)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("table ops.loads")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):  # nor may she act for other analysts
            conn.execute(f"set role {platform}")
        assert [json.loads(line) for line in analyst("list", "--json").splitlines()] == [
            {"name": platform, "sessions": 0, "connections": 2},
            {"name": maria, "sessions": 1, "connections": 2},
        ]
        assert "at most" in analyst("list")

        analyst("remove", maria)
        with pytest.raises(psycopg.OperationalError):
            conn.execute("select 1")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(made.dsn("maria", "house", second))
    assert maria not in analyst("list")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("add", "Maria"), "'Maria' is no name for an analyst: small letters, digits"),
        (("add", "pg_maria"), "'pg_maria' is no name"),
        (("add", "m; drop role x"), "is no name"),
        (
            ("add", "{analyst}"),
            "exists already; if it is an analyst, `quantstream analyst add {analyst} --new-password`",
        ),
        (("add", "{pipeline}"), "the role {pipeline} exists already"),
        (("add", "{pipeline}", "--new-password"), "there is no analyst '{pipeline}'; there are: {analyst}"),
        (("add", "{analyst}", "--new-password"), "{analyst} is the platform's own"),
        (("remove", "{analyst}"), "{analyst} is the platform's own"),
        (("remove", "{pipeline}"), "there is no analyst '{pipeline}'"),
        (("remove", "nobody"), "there is no analyst 'nobody'"),
    ],
)
def test_what_cannot_be_is_said_plainly(
    names: tuple[House, Settings], analyst: Callable[..., str], arguments: tuple[str, ...], says: str
) -> None:
    roles = {role: names[0].role(role) for role in ("analyst", "pipeline")}
    with pytest.raises(ConfigError) as refused:
        analyst(*(one.format(**roles) for one in arguments))
    assert says.format(**roles) in str(refused.value)


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        ({"admin_dsn": None}, ConfigError, "QUANTSTREAM_ADMIN_DSN is not set"),
        (
            {"admin_dsn": None, "postgres": "embedded"},
            NotRunningError,
            "there is no platform in .+: `make up` makes one",
        ),
        ({"analyst_dsn": None}, NotRunningError, "no warehouse: run `make up`"),
    ],
)
def test_without_an_administrator_nobody_is_added(
    names: tuple[House, Settings], analyst: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    wrong: dict[str, object], error: type[Exception], says: str,
) -> None:  # fmt: skip
    changed = names[1].model_copy(update={"home": tmp_path, **wrong})
    monkeypatch.setattr(settings, "load_settings", lambda **overrides: changed)
    with pytest.raises(error, match=says):
        analyst("add", "maria")
