from __future__ import annotations

from functools import partial

import pytest

from tests.history.vendor import MakeSettings


@pytest.fixture
def make_history(make_settings: MakeSettings, template_marts: str) -> MakeSettings:
    """Like `make_settings`, with dbt's views and empty tables."""
    return partial(make_settings, template=template_marts)
