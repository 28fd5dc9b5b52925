"""The instruments file: read as written, or refused with every problem and its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.errors import ConfigError
from include.instruments import Instrument, known_instruments, load_instruments, register
from include.settings import ROOT, Settings
from include.sources import NAMES
from include.warehouse.db import connect

HEADER = "symbol,asset_class,currency,calendar,primary_source,simulator,coingecko\n"
HEADER_2 = "symbol,asset_class,currency,calendar,primary_source,fallbacks,simulator,coinbase,kraken,binance\n"
ETH = "ETH-USD,crypto,USD,24/7,coinbase,{},ETH-USD,ETH-USD,ETHUSD,\n"
SOL = "SOL-USD,crypto,USD,24/7,coinbase,{},SOL-USD,SOL-USD,SOLUSD,SOLUSDT\n"
XRP = "XRP-USD,crypto,USD,24/7,coinbase,{},XRP-USD,XRP-USD,XRPUSD,XRPUSDT\n"
BTC = "BTC-USD,crypto,USD,24/7,coingecko,BTC-USD,bitcoin\n"
SPY = "SPY,equity,USD,XNYS,simulator,SPY,\n"


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_row_becomes_an_instrument_and_an_empty_id_means_the_source_lacks_it(tmp_path: Path) -> None:
    file = written(tmp_path / "i.csv", "\ufeff" + HEADER + BTC + "\n" + SPY)
    assert load_instruments(file) == (
        Instrument("BTC-USD", "crypto", "USD", "24/7", "coingecko", {"simulator": "BTC-USD", "coingecko": "bitcoin"}),
        Instrument("SPY", "equity", "USD", "XNYS", "simulator", {"simulator": "SPY"}),
    )


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (BTC + BTC.replace("bitcoin", "ether").replace(",BTC-USD", ",X"), ":3: the symbol BTC-USD is already on"),
        (BTC + BTC.replace("BTC", "ETH"), ":3: the coingecko id bitcoin is already on line 2"),
        (BTC.replace("crypto", "coin"), ":2: asset_class is 'coin'; allowed are equity and crypto"),
        (BTC.replace("24/7", "XNYS"), ":2: calendar is 'XNYS'; for crypto it is 24/7"),
        (BTC.replace("USD,24/7", "$,24/7"), ":2: currency is '$'; it must be a code like USD"),
        (BTC.replace("7,coingecko", "7,bloomberg"), ":2: primary_source is 'bloomberg'; the file has columns for"),
        (SPY.replace("S,simulator", "S,coingecko"), ":2: primary_source is coingecko, but the column"),
        (SPY.replace("SPY,e", "spy,e"), ":2: symbol is 'spy'; write it in capitals: SPY"),
        (SPY.replace("SPY,e", "S P,e"), ":2: symbol is 'S P'; it must be"),
        (BTC + "SPY,equity\n", ":3: 2 values, but the header names 7 columns"),
        ("", ":1: no instrument in it"),
    ],
)  # fmt: skip
def test_a_wrong_row_is_refused_with_its_line(tmp_path: Path, rows: str, problem: str) -> None:
    file = written(tmp_path / "i.csv", HEADER + rows)
    with pytest.raises(ConfigError) as refused:
        load_instruments(file)
    assert f"{file}{problem}" in str(refused.value)


def test_fallbacks_are_read_in_their_order(tmp_path: Path) -> None:
    lines = [ETH.format("kraken"), SOL.format("  binance   kraken "), XRP.format("")]
    file = written(tmp_path / "i.csv", HEADER_2 + "".join(lines))
    assert [one.fallbacks for one in load_instruments(file)] == [("kraken",), ("binance", "kraken"), ()]


@pytest.mark.parametrize(
    ("fallbacks", "problem"),
    [
        ("binance", "fallbacks names binance, but the column binance is empty; it holds that source's id"),
        ("bloomberg", "fallbacks names 'bloomberg'; the file has columns for these sources: simulator, coinbase, kra"),
        ("kraken;binance", "fallbacks names 'kraken;binance'; the file has columns for"),
        ("coinbase", "fallbacks names coinbase, which is the primary source"),
        ("kraken kraken", "fallbacks names kraken twice"),
        ("simulator", "fallbacks names simulator; invented prices do not stand in for real ones"),
    ],
)
def test_a_wrong_fallback_is_refused_with_its_line(tmp_path: Path, fallbacks: str, problem: str) -> None:
    file = written(tmp_path / "i.csv", HEADER_2 + XRP.format("") + ETH.format(fallbacks))
    with pytest.raises(ConfigError) as refused:
        load_instruments(file)
    (said,) = str(refused.value).splitlines()[1:]
    assert said.startswith(f"  {file}:3: {problem}")


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (HEADER.replace("currency,", ""), "the column currency is missing"),
        (HEADER.replace("coingecko", "simulator"), "the column simulator is there twice"),
        (HEADER.replace("coingecko", ""), "a column has no name"),
        ("", "the column symbol is missing"),
    ],
)
def test_a_wrong_header_is_refused(tmp_path: Path, header: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_instruments(written(tmp_path / "i.csv", header + BTC))


def test_all_problems_are_listed_at_once(tmp_path: Path) -> None:
    file = written(tmp_path / "i.csv", HEADER + BTC.replace("crypto", "coin") + SPY.replace("SPY,e", "spy,e"))
    with pytest.raises(ConfigError) as refused:
        load_instruments(file)
    assert ":2: asset_class" in str(refused.value)
    assert ":3: symbol" in str(refused.value)


def test_a_file_that_is_not_there_is_named_with_its_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.csv.*QUANTSTREAM_INSTRUMENTS_FILE"):
        load_instruments(tmp_path / "none.csv")


def test_the_seed_file_holds_25_instruments_for_exactly_the_sources_there_are() -> None:
    seed = ROOT / "dbt" / "seeds" / "instruments.csv"
    instruments = load_instruments(seed)
    classes = [instrument.asset_class for instrument in instruments]
    assert (classes.count("crypto"), classes.count("equity")) == (15, 10)
    assert seed.read_text().splitlines()[0].split(",")[6:] == list(NAMES)
    assert all(instrument.ids["simulator"] == instrument.symbol for instrument in instruments)
    assert {(one.asset_class, one.primary_source, *one.fallbacks) for one in instruments} == {
        ("crypto", "coinbase", "kraken", "binance", "coingecko"),
        ("equity", "yahoo", "polygon", "alphavantage"),
    }


@pytest.mark.stack
def test_registered_instruments_come_after_the_files(settings: Settings) -> None:
    with connect(settings) as conn:
        listed = known_instruments(conn, settings)
        assert register(conn, ["XRPETH", "BTCUSD", "BTCUSD"], "crypto", primary_source="replay") == 2
        assert register(conn, ["BTCUSD", "SPY"], "equity") == 1
        known = known_instruments(conn, settings)
    assert known[: len(listed)] == listed
    assert known[len(listed) :] == (
        Instrument("BTCUSD", "crypto", "USD", "24/7", "replay", {"replay": "BTCUSD"}),
        Instrument("XRPETH", "crypto", "USD", "24/7", "replay", {"replay": "XRPETH"}),
    )


@pytest.mark.stack
def test_what_cannot_be_registered_is_listed_and_nothing_is_added(settings: Settings) -> None:
    with connect(settings) as conn:
        with pytest.raises(ConfigError, match=r"(?s)'btcusd'.*BTCUSD.*asset class 'fx'"):
            register(conn, ["GOOD", "btcusd"], "fx")
        assert len(known_instruments(conn, settings)) == 25
