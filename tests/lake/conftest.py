"""A lake of its own for each test: its bucket, its database in Glue, a warehouse with the views that type events."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from include.settings import Settings


@pytest.fixture
def lake(make_lake: Callable[..., Settings]) -> Settings:
    """An empty lake."""
    return make_lake()


@pytest.fixture
def make_lake(make_settings: Callable[..., Settings], template_marts: str) -> Callable[..., Settings]:
    """A function that makes settings (with overrides) of an empty lake."""

    def make(**overrides: object) -> Settings:
        return make_settings(template=template_marts, glue_database=f"lake_{uuid.uuid4().hex[:12]}", **overrides)

    return make
