"""A warehouse on a TimescaleDB server that somebody gives us, and one on plain Postgres; both get the same events."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import psycopg
import pytest

from include.events import Event
from include.pipeline.cutting import enable_timescale
from include.settings import Settings
from include.stack.roles import make_roles
from include.transform.runner import build_all
from include.warehouse.checksums import differences, mart_checksums
from include.warehouse.db import connect
from include.warehouse.migrate import migrate
from tests.conftest import Servers, make_warehouse, warehouse_settings
from tests.stack.house import house_on
from tests.transform.events import DAY, accept
from tests.transform.marts import build

VARIABLE = "QUANTSTREAM_TEST_TIMESCALE_DSN"


@dataclass(frozen=True)
class Both:
    """The warehouse with hypertables, and the plain one. Nothing is compressed by itself in the first."""

    timescale: Settings
    plain: Settings

    def bring(self, events: Iterable[Event]) -> None:
        """One load of these events into each, built."""
        rows = list(events)
        for settings in (self.timescale, self.plain):
            with connect(settings) as conn:
                accept(conn, rows, {"replay": DAY})
            build(settings)

    def differences(self) -> list[str]:
        """What the marts of the two do not have in common."""
        found = []
        for settings in (self.plain, self.timescale):
            with connect(settings) as conn:
                found.append(mart_checksums(conn))
        return differences(*found)

    def compress(self, table: str) -> int:
        """Compress every chunk of the table that is not; how many."""
        with connect(self.timescale, role="owner") as conn:
            chunks = conn.execute(
                "select format('%%I.%%I', chunk_schema, chunk_name) from timescaledb_information.chunks "
                "where format('%%I.%%I', hypertable_schema, hypertable_name) = %s and not is_compressed",
                [table],
            ).fetchall()
            for (chunk,) in chunks:
                conn.execute("call convert_to_columnstore(%s::regclass)", [chunk])
        return len(chunks)


@pytest.fixture(scope="module")
def empty_timescale(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Roles and a migrated database of our own on that server, still with native partitions; gone afterwards."""
    dsn = os.environ.get(VARIABLE, "")
    if not dsn:
        pytest.skip(f"{VARIABLE} names no server: the address of a superuser of a TimescaleDB, see CONTRIBUTING.md")
    where = psycopg.conninfo.conninfo_to_dict(dsn)
    server = " ".join(f"{name}={where[name]}" for name in ("host", "port", "sslmode") if where.get(name))
    admin: Callable[[], psycopg.Connection] = lambda: psycopg.connect(dsn, autocommit=True)  # noqa: E731
    with house_on(server, admin) as names:
        make_roles(dsn, **names.dsns())
        settings = names.settings(home=tmp_path_factory.mktemp("timescale"), timescale_compress_days=0)
        migrate(settings)
        build_all(settings)
        yield settings


@pytest.fixture(scope="module")
def both(empty_timescale: Settings, servers: Servers, template_marts: str) -> Iterator[Both]:
    name = "beside_timescale"
    make_warehouse(servers, name, template=template_marts)
    enable_timescale(empty_timescale)
    yield Both(empty_timescale, warehouse_settings(servers, name))
    with servers.admin() as conn:
        conn.execute(f'drop database "{name}" with (force)')
