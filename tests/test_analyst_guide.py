"""The guide's queries and what they print: three days of the simulator, the same whenever they are made.

`QUANTSTREAM_TEST_WRITE_DOCS=1 pytest tests/test_analyst_guide.py` writes the guide's chapter anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from include.cli import app
from include.events import Window
from include.pipeline.backfill import backfill
from include.pipeline.cycle import process
from include.pipeline.gaps import find_gaps
from include.queries import QUERIES
from include.settings import ROOT, Settings

pytestmark = pytest.mark.stack

GUIDE = ROOT / "docs" / "analyst_guide.md"
CHAPTER = "## Twelve queries to begin with\n"
DAYS = Window(datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 5, tzinfo=UTC))
OUTAGE = Window(datetime(2026, 3, 3, 5, tzinfo=UTC), datetime(2026, 3, 3, 7, 30, tzinfo=UTC))
MOST_LINES = 12


@pytest.fixture
def lived(make_settings: Callable[..., Settings], template_marts: str) -> Settings:
    """Three days of four instruments; nobody ever asked for two and a half hours of one of them."""
    settings = make_settings(template=template_marts)
    backfill(settings, "simulator", DAYS, symbols=["BTC-USD", "ETH-USD", "AAPL"])
    for window in (Window(DAYS.start, OUTAGE.start), Window(OUTAGE.end, DAYS.end)):
        backfill(settings, "simulator", window, symbols=["SOL-USD"])
    assert not [step for step in process(settings, only=("transform", "detect")) if step.error]
    find_gaps(settings, now=DAYS.end + timedelta(minutes=1))
    return settings


def chapter(printed: dict[str, str]) -> Iterator[str]:
    yield CHAPTER
    yield "\nWith what each prints of three days of the simulator; `quantstream sql --sample NAME` runs it on yours.\n"
    for name, query in QUERIES.items():
        lines = printed[name].rstrip().splitlines()
        table, count = lines[:-1], lines[-1]
        shown = [*table[:MOST_LINES], *(["..."] if len(table) > MOST_LINES else []), count]
        yield f"\n### `{name}`: {query.title}\n\n```sql\n{query.sql.strip()};\n```\n\n"
        yield "```\n" + "\n".join(line.rstrip() for line in shown) + "\n```\n"


def test_the_guide_shows_each_query_and_what_it_prints(lived: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lived.analyst_dsn is not None
    monkeypatch.setenv("QUANTSTREAM_ANALYST_DSN", lived.analyst_dsn.get_secret_value())
    monkeypatch.setenv("COLUMNS", "130")
    printed = {}
    for name in QUERIES:
        done = CliRunner().invoke(app, ["sql", "--sample", name])
        assert done.exit_code == 0, done.output
        printed[name] = done.stdout
    expected = "".join(chapter(printed))
    head, _, said = GUIDE.read_text().partition(CHAPTER)
    if os.environ.get("QUANTSTREAM_TEST_WRITE_DOCS"):
        GUIDE.write_text(head + expected)
        said = expected.removeprefix(CHAPTER)
    assert CHAPTER + said == expected
