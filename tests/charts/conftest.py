"""A warehouse with empty marts, connected as the one who fills it and as the one who reads it."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from include.settings import Settings
from include.warehouse.db import connect


@pytest.fixture
def conn(marts_settings: Settings) -> Iterator[psycopg.Connection]:
    with connect(marts_settings) as found:
        yield found


@pytest.fixture
def analyst(marts_settings: Settings) -> Iterator[psycopg.Connection]:
    with connect(marts_settings, role="analyst") as found:
        yield found
