"""Sources held against each other: three closes of a minute in, how far each is from the others out."""

from __future__ import annotations

import pytest

from include.settings import Settings
from include.warehouse.db import connect
from tests.transform.events import accept, at, close, quote
from tests.transform.marts import build, rows

VENDORS = ("yahoo", "polygon", "alphavantage")
DIVERGENCE = (
    "select to_char(candle_start, 'HH24:MI'), source, close, reference, divergence_basis_points, source_count, "
    "is_flagged from marts.source_divergence "
    "order by candle_start, array_position(array['yahoo', 'polygon', 'alphavantage'], source)"
)


@pytest.fixture
def live(marts_settings: Settings) -> Settings:
    return marts_settings.model_copy(update={"sources": list(VENDORS)})


def test_each_close_is_held_against_the_median_of_the_others(live: Settings) -> None:
    with connect(live) as conn:
        accept(
            conn,
            [
                close("yahoo", "10:00", 100), close("polygon", "10:00", 100), close("alphavantage", "10:00", 102),
                close("yahoo", "10:01", 100), close("polygon", "10:01", 101),
                close("yahoo", "10:02", 100),
            ],
            dict.fromkeys(VENDORS, at("10:03")),
        )  # fmt: skip
        build(live)
        assert rows(conn, DIVERGENCE) == [
            ("10:00", "yahoo", 100, 101, pytest.approx(-99.01, abs=0.01), 3, False),
            ("10:00", "polygon", 100, 101, pytest.approx(-99.01, abs=0.01), 3, False),
            ("10:00", "alphavantage", 102, 100, 200, 3, True),
            ("10:01", "yahoo", 100, 101, pytest.approx(-99.01, abs=0.01), 2, False),
            ("10:01", "polygon", 101, 100, 100, 2, False),  # the threshold itself is still inside
        ]


def test_a_source_that_comes_late_is_compared_with_those_that_were_there(live: Settings) -> None:
    with connect(live) as conn:
        accept(conn, [close("yahoo", "10:00", 100)], dict.fromkeys(VENDORS, at("10:01")))
        build(live)
        assert rows(conn, DIVERGENCE) == []
        accept(conn, [close("alphavantage", "10:00", 100)])
        build(live)
        assert [row[1:4] for row in rows(conn, DIVERGENCE)] == [("yahoo", 100, 100), ("alphavantage", 100, 100)]
        accept(conn, [close("polygon", "10:00", 110)])
        build(live)
        assert [row[1:4] for row in rows(conn, DIVERGENCE)] == [
            ("yahoo", 100, 105), ("polygon", 110, 100), ("alphavantage", 100, 105),
        ]  # fmt: skip


def test_only_final_candles_of_live_sources_are_compared(live: Settings) -> None:
    with connect(live) as conn:
        closes = [close("yahoo", "10:00", 100), close("polygon", "10:00", 101)]
        others = [quote("AAPL", "10:00", 500), quote("AAPL", "10:00", 600, source="replay")]
        accept(conn, [*closes, *others], dict.fromkeys(("yahoo", "simulator", "replay"), at("10:01")))
        build(live)
        assert rows(conn, DIVERGENCE) == [], "yahoo is alone: polygon is not final, the others are no market"
        accept(conn, [], {"polygon": at("10:01")})
        build(live)
        assert [row[1:3] for row in rows(conn, DIVERGENCE)] == [("yahoo", 100), ("polygon", 101)]


def test_another_threshold_holds_for_the_past_too(live: Settings) -> None:
    flagged = "select source from marts.source_divergence where is_flagged"
    with connect(live) as conn:
        accept(
            conn, [close("yahoo", "10:00", 100), close("polygon", "10:00", 100.5)], dict.fromkeys(VENDORS, at("10:01"))
        )
        build(live)
        assert rows(conn, flagged) == []
        build(live.model_copy(update={"divergence_basis_points": 49.9}))
        assert rows(conn, flagged) == [("polygon",)]
