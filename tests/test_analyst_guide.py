"""The guide's queries and what they print: two days of the simulator, the same whenever they are made.

`QUANTSTREAM_TEST_WRITE_DOCS=1 pytest tests/test_analyst_guide.py` writes the guide's chapter anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from include.commands.bench_sql import measure
from include.commands.sql import Format, show
from include.events import Window
from include.pipeline.backfill import backfill
from include.pipeline.cycle import process
from include.pipeline.gaps import find_gaps
from include.queries import QUERIES
from include.settings import ROOT, Settings
from include.warehouse.db import connect

pytestmark = pytest.mark.stack

GUIDE = ROOT / "docs" / "analyst_guide.md"
CHAPTER = "## Twelve queries to begin with\n"
DAYS = Window(datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 4, tzinfo=UTC))
OUTAGE = Window(datetime(2026, 3, 3, 5, tzinfo=UTC), datetime(2026, 3, 3, 7, 30, tzinfo=UTC))
MOST_LINES = 15


@pytest.fixture
def lived(make_settings: Callable[..., Settings], template_marts: str) -> Settings:
    """Two days of three instruments; nobody ever asked for two and a half hours of one of them."""
    settings = make_settings(template=template_marts)
    backfill(settings, "simulator", DAYS, symbols=["BTC-USD", "AAPL"])
    for window in (Window(DAYS.start, OUTAGE.start), Window(OUTAGE.end, DAYS.end)):
        backfill(settings, "simulator", window, symbols=["ETH-USD"])
    assert not [step for step in process(settings, only=("transform", "detect")) if step.error]
    find_gaps(settings, now=DAYS.end + timedelta(minutes=1))
    return settings


def chapter(printed: dict[str, str]) -> Iterator[str]:
    yield CHAPTER
    yield "\nWith what each prints of two days of the simulator; `quantstream sql --sample NAME` runs it on yours.\n"
    for name, query in QUERIES.items():
        lines = printed[name].rstrip().splitlines()
        shown = lines if len(lines) <= MOST_LINES else [*lines[: MOST_LINES - 2], "...", lines[-1]]
        yield f"\n### `{name}`: {query.title}\n\n```sql\n{query.sql.strip()};\n```\n\n"
        yield "```\n" + "\n".join(line.rstrip() for line in shown) + "\n```\n"


def test_the_guide_shows_what_each_query_prints_and_duckdb_gives_as_many_rows(
    lived: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert lived.analyst_dsn is not None
    monkeypatch.setenv("COLUMNS", "120")
    printed = {}
    with psycopg.connect(lived.analyst_dsn.get_secret_value(), options="-c search_path=marts -c timezone=UTC") as conn:
        for name, query in QUERIES.items():
            cursor = conn.execute(query.sql.encode())
            show([column.name for column in cursor.description or ()], cursor.fetchall(), Format.table)
            printed[name] = capsys.readouterr().out
    expected = "".join(chapter(printed))
    head, _, said = GUIDE.read_text().partition(CHAPTER)
    if os.environ.get("QUANTSTREAM_TEST_WRITE_DOCS"):
        GUIDE.write_text(head + expected)
        said = expected.removeprefix(CHAPTER)
    assert CHAPTER + said == expected

    with connect(lived, role="owner") as conn:
        conn.execute("delete from marts.gaps")  # a mart may be empty
        conn.execute("analyze")
        (candles,) = conn.execute("select count(*) from marts.candles_1m").fetchone() or (0,)
    waits, sizes, parquet = measure(lived, tmp_path / "parquet", 2)
    assert {name: one.rows for name, one in waits.items() if not one.rows} == {"gaps": 0}
    assert min(one.duckdb_p95 for one in waits.values()) > 0
    assert sizes["candles_1m"].rows == candles > 4 * 1440 - 150
    assert 0 < parquet < 10
