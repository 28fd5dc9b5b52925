"""What the tests of vendors share: answers of a server, and what a source made of them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import Any

import pytest

from include.instruments import Instrument
from include.sources.base import Batch
from tests.faults.proxy import Answer

WEBSITE = Answer(200, b"<html><title>Just a moment...</title></html>", {"Content-Type": "text/html"})


def answer(data: Any, status: int = 200, **headers: str) -> Answer:
    return Answer(status, json.dumps(data).encode(), {"Content-Type": "application/json", **headers})


def share(source: str, symbol: str) -> Instrument:
    return Instrument(symbol, "equity", "USD", "XNYS", source, {source: symbol})


def coin(source: str, symbol: str, vendor: str, currency: str = "USD") -> Instrument:
    return Instrument(symbol, "crypto", currency, "24/7", source, {source: vendor})


def whole(batches: Iterable[Batch], into: Batch | None = None) -> Batch:
    """All batches as one; with `into` also what came before an error."""
    into = into or Batch()
    for batch in batches:
        into.events += batch.events
        into.lines += batch.lines
        into.rejected += batch.rejected
    return into


def told(batch: Batch) -> list[tuple[str, str, str]]:
    """(kind, symbol, HH:MM:SS) of each event."""
    return [(event.kind, event.symbol, f"{event.event_time:%H:%M:%S}") for event in batch.events]


def reasons(batch: Batch) -> list[str]:
    return [bad.reason for bad in batch.rejected]


def log_everything(caplog: pytest.LogCaptureFixture) -> None:
    """The libraries' loggers too, which are silent by default."""
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "httpcore.http11", "httpcore.connection"):
        caplog.set_level(logging.DEBUG, logger=name)
