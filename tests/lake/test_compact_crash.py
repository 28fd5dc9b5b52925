"""kill -9 at every step of doing a day again: queries see whole files, old or new, and the next run ends the same."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest

from include.aws import client
from include.crashpoints import LAKE_NAMES
from include.pipeline.compact import compact, compact_due, verify
from include.settings import Settings
from tests import processes
from tests.lake.lines import ledger, put, quote, trade
from tests.lake.parquet import files

pytestmark = pytest.mark.stack

MONDAY = date(2026, 3, 2)
OUTDATED = "parquet/kind=bar/dt=2026-03-02/bars-2026-03-02-000.parquet"  # a file that the day no longer has


def a_day_that_is_done_and_due_again(lake: Settings) -> None:
    put(lake, "2026-03-02", "a", [trade("BTC-USD", "2026-03-02T10:00", 1), quote("BTC-USD", "2026-03-02T10:00", 1)])
    compact(lake, MONDAY)
    client(lake, "s3").put_object(Bucket=lake.bucket, Key=OUTDATED, Body=b"of views that are no more")
    ledger(
        lake,
        "insert into ops.lake_files (key, arrival_day, kind, event_date, row_count, bytes, checksum, sha256, "
        f"is_announced) values ('{OUTDATED}', '2026-03-02', 'bar', '2026-03-02', 1, 1, 0, '', false) returning key",
    )
    put(lake, "2026-03-02", "late", [
        trade("BTC-USD", "2026-03-02T11:00", 2), quote("BTC-USD", "2026-03-02T11:00", 2),
        trade("BTC-USD", "2026-03-01T11:00", 2),
    ])  # fmt: skip


def written(lake: Settings) -> list[tuple[object, ...]]:
    return [
        *ledger(lake, "select arrival_day, line_count, row_count, file_count from ops.lake_days"),
        *ledger(lake, "select key, row_count, checksum, sha256, is_announced from ops.lake_files order by key"),
        *ledger(lake, "select key, line_count from ops.lake_objects order by key"),
    ]


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, object]:
    """Filled by the first test that asks: what a day looks like that nothing disturbed."""
    return {}


@pytest.mark.parametrize("point", [*LAKE_NAMES, "before_lake_put:2", "after_lake_put:2"])
def test_a_crash_anywhere_leaves_whole_files_and_the_next_run_ends_the_same(
    point: str, make_lake: Callable[..., Settings], undisturbed: dict[str, object]
) -> None:
    if not undisturbed:
        calm = make_lake()
        a_day_that_is_done_and_due_again(calm)
        compact(calm, MONDAY)
        undisturbed |= {"files": files(calm), "ledger": written(calm)}
    lake = make_lake()
    a_day_that_is_done_and_due_again(lake)
    old, new = files(lake), undisturbed["files"]
    assert isinstance(new, dict) and OUTDATED in old and OUTDATED not in new

    ended = processes.run(lambda: compact(lake, MONDAY), {"QUANTSTREAM_CRASH_AT": point})

    assert ended.killed, f"the run did not pass {point}"
    for key, body in files(lake).items():
        assert body in (old.get(key), new.get(key)), f"{key} is neither the old file nor the new one"
    compact(lake, MONDAY)
    assert files(lake) == new
    assert written(lake) == undisturbed["ledger"]
    assert compact_due(lake, running=True) == []
    assert verify(lake, MONDAY) == len(new)
