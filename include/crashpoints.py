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
"""Those that a minute of the market passes."""

HistoryName = Literal[
    "before_history_intent",
    "after_history_intent",
    "before_history_put",
    "after_history_put",
    "before_history_landed",
    "after_history_landed",
    "before_history_settled",
    "after_history_settled",
]
HISTORY_NAMES: Final[tuple[str, ...]] = get_args(HistoryName)
"""Those that a backfill passes, beside those of loading and of the audit."""

LakeName = Literal[
    "before_lake_announce",
    "after_lake_announce",
    "before_lake_put",
    "after_lake_put",
    "before_lake_remove",
    "before_lake_commit",
    "after_lake_commit",
]
LAKE_NAMES: Final[tuple[str, ...]] = get_args(LakeName)
"""Those that the compaction of a day passes."""

ReplayName = Literal[
    "before_reset_commit",
    "after_reset_commit",
    "before_rebuild_emptied",
    "after_rebuild_emptied",
    "before_rebuild_phase",
    "after_rebuild_phase",
]
REPLAY_NAMES: Final[tuple[str, ...]] = get_args(ReplayName)
"""Those that a reset of the stream and a rebuild pass, beside those of their steps."""

DeadName = Literal["before_dead_letter", "after_dead_letter"]
DEAD_NAMES: Final[tuple[str, ...]] = get_args(DeadName)
"""Those that a message passes which SNS will not take."""

_passages: dict[str, int] = {}


def crash_point(name: Name | HistoryName | LakeName | ReplayName | DeadName) -> None:
    """Kill this process here if `QUANTSTREAM_CRASH_AT` says so."""
    wanted, _, nth = os.environ.get("QUANTSTREAM_CRASH_AT", "").partition(":")
    if wanted != name:
        return
    _passages[name] = _passages.get(name, 0) + 1
    if _passages[name] == int(nth or 1):
        os.kill(os.getpid(), signal.SIGKILL)
