"""Named places where a test may kill this process, to prove that a crash there loses and doubles nothing.

`QUANTSTREAM_CRASH_AT=name` or `name:n` kills the process with SIGKILL at the n-th passage (1 is the first). Without the
variable `crash_point` does nothing.
"""

from __future__ import annotations

import os
import signal
from typing import Final, Literal, get_args

Name = Literal[
    "before_put_records",
    "after_put_records",
    "before_intent",
    "after_intent",
    "before_put_object",
    "after_put_object",
    "before_load_commit",
    "after_load_commit",
    "before_audit_commit",
    "after_audit_commit",
    "before_dbt",
    "after_dbt",
    "before_transform_commit",
    "after_transform_commit",
    "before_alert_commit",
    "after_alert_commit",
    "before_publish",
    "after_publish",
    "after_mark_sent",
]
NAMES: Final[tuple[str, ...]] = get_args(Name)

_passages: dict[str, int] = {}


def crash_point(name: Name) -> None:
    """Kill this process here if `QUANTSTREAM_CRASH_AT` says so."""
    wanted, _, nth = os.environ.get("QUANTSTREAM_CRASH_AT", "").partition(":")
    if wanted != name:
        return
    _passages[name] = _passages.get(name, 0) + 1
    if _passages[name] == int(nth or 1):
        os.kill(os.getpid(), signal.SIGKILL)
