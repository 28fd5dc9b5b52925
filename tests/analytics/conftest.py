"""One warehouse for each file of tests: the views of the analytics over tables that a picture fills."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
import pytest

from include.warehouse.db import connect
from tests.conftest import Servers, make_warehouse, warehouse_settings


@pytest.fixture(scope="module")
def marts(servers: Servers, template_marts: str) -> Iterator[psycopg.Connection]:
    """A connection to empty marts."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    make_warehouse(servers, name, template=template_marts)
    with connect(warehouse_settings(servers, name)) as conn:
        conn.execute("set timezone to 'UTC'")
        yield conn
    with servers.admin() as admin:
        admin.execute(f'drop database "{name}" with (force)')
