"""Several sources of one instrument: which of them its series is made of. AAPL: yahoo, polygon, alphavantage."""

from __future__ import annotations

from decimal import Decimal

import pytest

from include.errors import TransformError
from include.settings import Settings
from include.transform.batch import open_batch
from include.transform.runner import _build
from include.warehouse.db import connect
from tests.transform.events import accept, at, close, event, quote
from tests.transform.marts import build, rows

SERIES = (
    "select to_char(candle_start, 'HH24:MI'), source, close, is_fallback, is_final from marts.indicators_1m "
    "where symbol = 'AAPL' order by candle_start"
)
QUEUE = "select symbol, to_char(from_candle, 'HH24:MI') from ops.detect_queue"


@pytest.fixture
def live(marts_settings: Settings) -> Settings:
    return marts_settings.model_copy(update={"sources": ["yahoo", "polygon", "alphavantage"]})


def test_each_minute_follows_the_first_source_that_has_a_candle(live: Settings) -> None:
    complete = dict.fromkeys(("yahoo", "polygon", "alphavantage"), at("10:04"))
    with connect(live) as conn:
        accept(
            conn,
            [
                close("yahoo", "10:00", 100), close("polygon", "10:00", 200), close("alphavantage", "10:00", 300),
                                              close("polygon", "10:01", 201), close("alphavantage", "10:01", 301),
                close("yahoo", "10:02", 102), close("polygon", "10:02", 202),
                                                                              close("alphavantage", "10:03", 303),
            ],
            complete,
        )  # fmt: skip
        build(live)
        assert rows(conn, SERIES) == [
            ("10:00", "yahoo", 100, False, True),
            ("10:01", "polygon", 201, True, True),
            ("10:02", "yahoo", 102, False, True),
            ("10:03", "alphavantage", 303, True, True),
        ]


def test_the_primary_source_replaces_its_fallback_when_it_comes_late(live: Settings) -> None:
    means = "select sma_5 from marts.indicators_1m order by candle_start desc limit 1"
    complete = {"yahoo": at("10:05"), "polygon": at("10:05")}
    with connect(live) as conn:
        accept(conn, [close("yahoo", f"10:0{n}", 10) for n in (0, 2, 3, 4)] + [close("polygon", "10:01", 20)], complete)
        build(live)
        assert rows(conn, SERIES)[1] == ("10:01", "polygon", 20, True, True)
        assert rows(conn, means) == [(12,)]
        accept(conn, [close("yahoo", "10:01", 10)])
        build(live)
        assert rows(conn, SERIES)[1] == ("10:01", "yahoo", 10, False, True)
        assert rows(conn, means) == [(10,)]


def test_a_fallback_that_comes_late_changes_nothing(live: Settings) -> None:
    complete = {"yahoo": at("10:01"), "polygon": at("10:01")}
    with connect(live) as conn:
        accept(conn, [close("yahoo", "10:00", 10)], complete)
        build(live)
        accept(conn, [close("polygon", "10:00", 20)])
        written = {node.name: node.rows for node in build(live).nodes}
        assert (written["candles_1m"], written["indicators_1m"]) == (1, 0)


def test_a_primary_that_is_not_final_does_not_hold_back_a_final_fallback(live: Settings) -> None:
    with connect(live) as conn:
        accept(conn, [close("yahoo", "10:00", 10), close("polygon", "10:00", 20)])
        build(live)
        assert rows(conn, SERIES) == [("10:00", "yahoo", 10, False, False)], "none is final: the first one"
        accept(conn, [], {"polygon": at("10:01")})
        build(live)
        assert rows(conn, SERIES) == [("10:00", "polygon", 20, True, True)]
        conn.execute("truncate ops.detect_queue")
        accept(conn, [], {"yahoo": at("10:01")})
        build(live)
        assert rows(conn, SERIES) == [("10:00", "yahoo", 10, False, True)]
        assert rows(conn, QUEUE) == [("AAPL", "10:00")], "its candle is another one: to be looked at again"


def test_a_build_that_died_between_two_models_forgets_no_candle_that_became_final(live: Settings) -> None:
    with connect(live) as conn:
        accept(conn, [close("yahoo", "10:00", 10)])
        build(live)
        accept(conn, [], {"yahoo": at("10:01")})
        loads = open_batch(conn, 1000)
        with pytest.raises(TransformError, match="indicators_follow_the_candles"):
            _build(live, ["--select", "int_changed_ranges", "candles_1m"], check="changed", epoch=0, loads=loads)
        build(live)
        assert rows(conn, SERIES) == [("10:00", "yahoo", 10, False, True)]
        assert rows(conn, QUEUE) == [("AAPL", "10:00")]
        assert rows(conn, "select * from intermediate.int_changed_minutes") == []


def test_invented_prices_stay_out_of_the_series_of_what_a_live_source_has(
    marts_settings: Settings,
) -> None:
    mixed = marts_settings.model_copy(update={"sources": ["simulator", "yahoo"]})
    minutes = [quote("AAPL", "10:00", 500), quote("AAPL", "10:01", 501), close("yahoo", "10:00", 10)]
    with connect(mixed) as conn:
        accept(conn, minutes, {"simulator": at("10:02"), "yahoo": at("10:02")})
        build(mixed)
        assert rows(conn, SERIES) == [("10:00", "yahoo", 10, False, True)]
        assert rows(conn, "select count(*) from marts.candles_1m where source = 'simulator'") == [(2,)]
        assert rows(conn, "select * from marts.latest_quotes") == [], "nor are they the last known price"


def test_switching_to_a_live_source_makes_the_series_anew_without_the_simulator(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        accept(conn, [quote("AAPL", "10:00", 500)], {"simulator": at("10:01")})
        build(marts_settings)
        assert rows(conn, SERIES) == [("10:00", "simulator", 500, True, True)]
        switched = marts_settings.model_copy(update={"sources": ["polygon"]})
        accept(conn, [close("polygon", "10:01", 10)], {"polygon": at("10:02")})
        build(switched)
        assert rows(conn, SERIES) == [("10:01", "polygon", 10, True, True)]
        build(marts_settings)  # and back: real prices still come first
        assert [row[:2] for row in rows(conn, SERIES)] == [("10:00", "simulator"), ("10:01", "polygon")]


def test_the_last_known_price_is_the_newest_then_that_of_the_first_source(live: Settings) -> None:
    def yahoo(clock: str, price: float) -> object:
        return event("quote", "AAPL", at(clock), {"regularMarketPrice": price}, source="yahoo")

    latest = "select price, source from marts.latest_quotes"
    with connect(live) as conn:
        accept(conn, [yahoo("10:00", 10), quote("AAPL", "10:00", 11, source="replay")])  # type: ignore[list-item]
        build(live)
        assert rows(conn, latest) == [(10, "yahoo")]
        accept(conn, [quote("AAPL", "10:01", 12, source="replay"), quote("AAPL", "10:02", 500)])
        build(live)
        assert rows(conn, latest) == [(12, "replay")]


def test_a_candle_says_the_session_of_its_bar(live: Settings) -> None:
    with connect(live) as conn:
        accept(
            conn,
            [
                close("yahoo", "14:29", 10, session="pre"),
                close("yahoo", "14:30", 10, session="regular"),
                close("polygon", "14:30", 10),
            ],
        )
        build(live)
        found = "select to_char(candle_start, 'HH24:MI'), source, session from marts.candles_1m order by 1, 2 desc"
        assert rows(conn, found) == [
            ("14:29", "yahoo", "pre"),
            ("14:30", "yahoo", "regular"),
            ("14:30", "polygon", None),
        ]


def test_corporate_actions_are_kept_with_their_latest_revision(live: Settings) -> None:
    def action(kind: str, payload: dict[str, object], clock: str) -> object:
        return event("action", "AAPL", at("14:30"), payload, source="yahoo", vendor_id=kind, received_at=at(clock))

    found = "select ex_date::text, action, ratio, amount, currency from marts.corporate_actions order by action"
    with connect(live) as conn:
        accept(
            conn,
            [
                action("split", {"numerator": 4, "denominator": 1}, "15:00"),  # type: ignore[list-item]
                action("dividend", {"amount": 0.2, "currency": "USD"}, "15:00"),  # type: ignore[list-item]
            ],
        )
        build(live)
        accept(conn, [action("dividend", {"amount": 0.205, "currency": "USD"}, "16:00")])  # type: ignore[list-item]
        build(live)
        assert rows(conn, found) == [
            ("2026-03-02", "dividend", None, Decimal("0.205"), "USD"),
            ("2026-03-02", "split", 4, None, None),
        ]
