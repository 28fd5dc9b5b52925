"""When there is anything to pull, and from whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.calendars import OpenIntervals
from include.pipeline.clock import pulled_intervals, source_calendars
from include.settings import Settings

INSTRUMENTS = """symbol,asset_class,currency,calendar,primary_source,simulator,yahoo,polygon,kraken
SPY,equity,USD,XNYS,yahoo,SPY,SPY,SPY,
BTC-USD,crypto,USD,24/7,kraken,BTC-USD,,,XBTUSD
"""


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    path = tmp_path / "instruments.csv"
    path.write_text(INSTRUMENTS)
    return path


def our(file: Path, *sources: str, **overrides: object) -> Settings:
    return Settings(_env_file=None, instruments_file=file, sources=list(sources), **overrides)


def test_a_source_has_the_calendars_of_its_instruments_and_the_simulator_never_closes(listed: Path) -> None:
    assert source_calendars(our(listed, "simulator", "yahoo", "kraken", "coinbase")) == {
        "simulator": ("24/7",), "yahoo": ("XNYS",), "kraken": ("24/7",), "coinbase": (),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("sources", "overrides", "expected"),
    [
        pytest.param(["simulator"], {}, OpenIntervals(("24/7",), 60), id="the default"),
        pytest.param(["yahoo"], {}, OpenIntervals(("XNYS",), 60), id="equities"),
        pytest.param(["yahoo", "kraken"], {}, OpenIntervals(("24/7",), 60), id="equities and crypto"),
        pytest.param(
            ["yahoo"], {"cadence_seconds": 10, "extended_hours": True}, OpenIntervals(("XNYS",), 10, extended=True),
            id="extended hours every 10 seconds",
        ),
        pytest.param(["yahoo"], {"collect": ["binance"]}, OpenIntervals(("24/7",), 60), id="trades are collected"),
        pytest.param(["coinbase"], {}, OpenIntervals(("24/7",), 60), id="a source without instruments"),
        pytest.param(["yahoo", "polygon"], {}, OpenIntervals(("XNYS",), 60, delay=900), id="one is behind the market"),
        pytest.param(
            ["yahoo", "polygon"], {"polygon_plan": "advanced"}, OpenIntervals(("XNYS",), 60), id="here none is"
        ),
    ],
)  # fmt: skip
def test_the_intervals_of_market_ingest(
    listed: Path, sources: list[str], overrides: dict[str, object], expected: OpenIntervals
) -> None:
    assert pulled_intervals(our(listed, *sources, **overrides)) == expected


def test_with_a_wrong_file_of_instruments_the_pull_runs_and_says_what_is_wrong(tmp_path: Path) -> None:
    assert pulled_intervals(our(tmp_path / "nowhere.csv", "yahoo")).calendars == ("24/7",)
