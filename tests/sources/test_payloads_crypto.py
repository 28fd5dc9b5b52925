"""Every recorded answer of CoinGecko, Binance and Kraken (and of Bitfinex, no source) becomes what the table says."""

from __future__ import annotations

import csv
import gzip
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tests.sources.payloads import Payload, summary
from tests.sources.payloads_crypto import PAYLOADS

pytestmark = pytest.mark.data
VENDORS = ("coingecko", "binance", "kraken", "bitfinex")
OF_FEEDS = {"binance/ws_trade.json"}


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.file)
def test_a_recorded_answer_becomes_what_the_table_says(
    payload: Payload, shared_data: Path, pauses: list[float]
) -> None:
    path = shared_data / "payloads" / payload.file
    if payload.error is None:
        assert summary(payload.parse(path)) == payload.outcome
        return
    with pytest.raises(payload.error) as failed:
        payload.parse(path)
    assert str(failed.value) == payload.outcome


def test_the_table_has_every_file(shared_data: Path) -> None:
    folder = shared_data / "payloads"
    files = [path for path in folder.glob("*/*") if ".ws." not in path.name]
    mine = [path for path in files if path.parent.name in VENDORS or path.name.lower().startswith(VENDORS)]
    assert {payload.file for payload in PAYLOADS} == {str(path.relative_to(folder)) for path in mine} - OF_FEEDS


def parsed(file: str, shared_data: Path) -> list[tuple[str, str, str, str]]:
    (payload,) = [one for one in PAYLOADS if one.file == file]
    events = payload.parse(shared_data / "payloads" / file).events
    return [(e.kind, e.symbol, f"{e.event_time:%Y-%m-%d %H:%M:%S.%f}", e.vendor_id) for e in events]


@pytest.mark.parametrize(
    ("file", "event"),
    [
        ("coingecko/coins_markets.json", ("quote", "bitcoin", "2023-01-07 11:29:25.554000", "")),
        ("coingecko/coins_bitcoin_market_chart.json", ("quote", "BTC-USD", "2023-01-06 14:30:42.829000", "")),
        ("binance/klines.json", ("bar", "BTC-USD", "2021-10-22 23:03:00.000000", "")),
        ("binance/agg_trades.json", ("trade", "BTC-USD", "2021-10-22 23:08:16.633000", "966492862")),
    ],
)
def test_events_of_the_recorded_answers_stand_at_their_utc_times(
    file: str, event: tuple[str, str, str, str], shared_data: Path
) -> None:
    assert event in parsed(file, shared_data)


def test_a_real_day_of_trades_is_that_of_another_reader(shared_data: Path) -> None:
    (payload,) = [one for one in PAYLOADS if "XRPETH" in one.file]
    events = payload.parse(shared_data / "payloads" / payload.file).events
    got = [
        (
            e.event_time,
            e.vendor_id,
            "sell" if e.payload["m"] else "buy",
            Decimal(e.payload["p"]),
            Decimal(e.payload["q"]),
        )
        for e in events
    ]
    with gzip.open(shared_data / "candles" / "xrpeth_binance_trades_20191011.csv.gz", "rt") as file:
        wanted = [
            (
                datetime.fromisoformat(row["ts_utc"]),
                row["id"],
                row["side"],
                Decimal(row["price"]),
                Decimal(row["amount"]),
            )
            for row in csv.DictReader(file)
        ]
    assert got == wanted
    assert got[0] == (
        datetime(2019, 10, 11, 0, 0, 11, 620000, UTC), "13519807", "sell", Decimal("0.00141342"), Decimal(23),
    )  # fmt: skip
    assert len(got) == 5929
