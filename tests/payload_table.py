"""docs/payloads.md, made of what the tests expect: `python -m tests.payload_table > docs/payloads.md`."""

from __future__ import annotations

import sys

from tests.collect.payloads_feeds import PAYLOADS as FEEDS
from tests.sources.payloads import Payload
from tests.sources.payloads_crypto import PAYLOADS as CRYPTO
from tests.sources.payloads_equities import PAYLOADS as EQUITIES

PAYLOADS: list[Payload] = sorted([*EQUITIES, *CRYPTO, *FEEDS], key=lambda payload: payload.file)

_HEAD = """# What recorded answers become

Real answers of the vendors, errors included, and what the platform makes of each. Every row is a test: the file parses
to exactly these events, or to the named error. What is rejected goes to quarantine with the reason, as it came.

| file | answers | becomes |
|---|---|---|
"""


def render() -> str:
    """The whole page."""
    return _HEAD + "".join(
        f"| `{one.file}` | {_cell(one.asked)} | {_error(one)}{_cell(one.outcome)} |\n" for one in PAYLOADS
    )


def _error(one: Payload) -> str:
    return f"**{one.error.__name__}**: " if one.error else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(render())
