"""Which sources count for an instrument, in which order, and what a change of it does."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.instruments import Instrument, register
from include.settings import Settings
from include.transform.instruments import recall, remember, source_order, sync_instruments
from include.warehouse.db import connect
from tests.transform.marts import rows

SOURCES = {"simulator", "replay", "binance", "coinbase", "kraken", "yahoo"}
IDS = {"simulator": "BTC-USD", "coinbase": "BTC-USD", "kraken": "XBTUSD"}
BTC = Instrument("BTC-USD", "crypto", "USD", "24/7", "kraken", IDS, ("coinbase",))
ORDER = (
    "select symbol, string_agg(source, ' ' order by rank) from ops.instrument_sources group by symbol order by symbol"
)


@pytest.mark.parametrize(
    ("live", "order"),
    [
        pytest.param(set(), "kraken coinbase binance replay simulator yahoo", id="the simulator alone"),
        pytest.param({"coinbase"}, "kraken coinbase binance replay yahoo", id="a live source has it"),
        pytest.param({"yahoo"}, "kraken coinbase binance replay simulator yahoo", id="no live source has it"),
    ],
)
def test_primary_then_fallbacks_then_the_others_by_name(live: set[str], order: str) -> None:
    assert source_order(BTC, SOURCES, live) == tuple(order.split())


def listing(path: Path, *lines: str) -> Path:
    header = "symbol,asset_class,currency,calendar,primary_source,fallbacks,simulator,coinbase,kraken"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_the_order_follows_the_file_the_registered_and_the_settings(settings: Settings, tmp_path: Path) -> None:
    file = listing(
        tmp_path / "i.csv",
        "BTC-USD,crypto,USD,24/7,kraken,coinbase,BTC-USD,BTC-USD,XBTUSD",
        "SPY,equity,USD,XNYS,simulator,,SPY,,",
    )
    mine = settings.model_copy(update={"instruments_file": file, "sources": ["simulator"], "collect": []})
    with connect(mine) as conn:
        sync_instruments(conn, mine)
        assert rows(conn, ORDER) == [
            ("BTC-USD", "kraken coinbase replay simulator"),
            ("SPY", "simulator coinbase kraken replay"),
        ]
        assert rows(conn, "select symbol, fallbacks from ops.instruments order by 1") == [
            ("BTC-USD", ["coinbase"]),
            ("SPY", []),
        ]
        register(conn, ["NEW"], "crypto", primary_source="replay")
        collecting = mine.model_copy(update={"collect": ["coinbase"]})
        sync_instruments(conn, collecting)
        assert rows(conn, ORDER) == [
            ("BTC-USD", "kraken coinbase replay"),
            ("NEW", "replay coinbase kraken simulator"),
            ("SPY", "simulator coinbase kraken replay"),
        ]


def test_only_another_order_of_a_known_instrument_makes_the_indicators_outdated(
    settings: Settings, tmp_path: Path
) -> None:
    btc = "BTC-USD,crypto,USD,24/7,kraken,{},BTC-USD,BTC-USD,XBTUSD"
    file = tmp_path / "i.csv"
    mine = settings.model_copy(update={"instruments_file": file})

    def outdated(*lines: str) -> bool:
        listing(file, *lines)
        remember(conn, "indicators", "current")
        sync_instruments(conn, mine)
        return recall(conn, "indicators") == "outdated"

    with connect(mine) as conn:
        assert not outdated(btc.format("coinbase"))
        assert not outdated(btc.format("coinbase"), "SPY,equity,USD,XNYS,simulator,,SPY,,")
        assert outdated(btc.format(""), "SPY,equity,USD,XNYS,simulator,,SPY,,") is False, "coinbase still comes next"
        assert outdated(btc.format("").replace("kraken", "coinbase"))
        assert not outdated("SPY,equity,USD,XNYS,simulator,,SPY,,")
        assert rows(conn, "select distinct symbol from ops.instrument_sources") == [("SPY",)]
