"""A vendor's server, and breaks between attempts that cost no time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from include.sources import http
from tests.faults.proxy import FaultProxy


@pytest.fixture
def vendor() -> Iterator[FaultProxy]:
    """A server without answers: each test adds its own."""
    with FaultProxy() as server:
        yield server


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The breaks between attempts, noted instead of slept."""
    noted: list[float] = []
    monkeypatch.setattr(http, "sleep", noted.append)
    return noted
