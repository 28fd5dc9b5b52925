"""kill -9 at every named point of a backfill of 30 days: after the retry everything equals an undisturbed one.

Each try is a process of its own, as Airflow runs it: three windows of ten days, of two objects each.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from include import crashpoints
from include.commands.local_exchange import LocalExchange, serving
from include.events import Window
from include.pipeline.backfill import backfill
from include.settings import Settings
from tests import processes
from tests.conftest import Servers
from tests.history.vendor import DAY, MakeSettings, bars, picture, warehouse_of_its_own

pytestmark = pytest.mark.stack

POINTS = (
    *crashpoints.HISTORY_NAMES, "before_load_commit", "after_load_commit", "before_audit_commit", "after_audit_commit",
)  # fmt: skip
TEN_DAYS = timedelta(days=10)
WINDOWS = [Window(DAY + number * TEN_DAYS, DAY + (number + 1) * TEN_DAYS) for number in range(3)]
MINUTES = [60 * hour + minute for hour in range(30 * 24) for minute in (0, 7, 8)]


@pytest.fixture(scope="module")
def vendor() -> Iterator[str]:
    known = {"BTCUSDT": bars(DAY, MINUTES), "ETHUSDT": bars(DAY, MINUTES), "SOLUSDT": bars(DAY, MINUTES[::9])}
    with serving(LocalExchange(bars=known)) as url:
        yield url


def thirty_days(settings: Settings) -> None:
    for window in WINDOWS:
        backfill(settings, "binance", window, symbols=["BTC-USD", "ETH-USD", "SOL-USD", "ADA-USD"])


@pytest.fixture(scope="module")
def undisturbed(servers: Servers, template_marts: str, vendor: str) -> dict[str, list[str]]:
    settings = warehouse_of_its_own(servers, template_marts, binance_url=vendor, history_land_events=1000)
    thirty_days(settings)
    shown = picture(settings)
    assert len(shown["events"]) == 2 * len(MINUTES) + len(MINUTES[::9])
    assert not any(lines for what, lines in shown.items() if " not " in what)
    return shown


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_at_any_point_changes_nothing(
    point: str, make_history: MakeSettings, vendor: str, undisturbed: dict[str, list[str]]
) -> None:
    settings = make_history(binance_url=vendor, history_land_events=1000)
    killed = processes.run(lambda: thirty_days(settings), {"QUANTSTREAM_CRASH_AT": f"{point}:3"})
    assert killed.killed, f"the backfill did not pass {point} three times"
    assert processes.run(lambda: thirty_days(settings)).ok, "see the captured output"
    after = picture(settings)
    for what, lines in undisturbed.items():
        assert after[what] == lines, f"{what} differs after a crash at {point}"
