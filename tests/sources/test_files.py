"""Files: few lines in, events and rejected lines out."""

from __future__ import annotations

import gzip
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import ConfigError, SourceError
from include.sources.base import Batch
from include.sources.files import Query, read

NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)


def whole(path: Path, kind: Any, *, chunk: int = 10_000, **options: Any) -> Batch:
    got = Batch()
    for batch in read(Query(path, kind, **options), received_at=NOW, chunk=chunk):
        got.events += batch.events
        got.lines += batch.lines
        got.rejected += batch.rejected
    return got


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


TRADES = """\
seq,ts_utc,price,size,exchange
0,2013-10-07T08:00:00.614Z,13.94,500,P
1,2013-10-07T08:00:04.499Z,13.95,200,
"""


def test_trades_of_a_csv(tmp_path: Path) -> None:
    got = whole(written(tmp_path / "t.csv", TRADES), "trade", symbol="bac")
    assert [(e.source, e.kind, e.symbol, e.event_time.isoformat(), e.vendor_id, e.payload) for e in got.events] == [
        ("replay", "trade", "BAC", "2013-10-07T08:00:00.614000+00:00", "0",
         {"price": 13.94, "size": 500, "extra": {"exchange": "P"}}),
        ("replay", "trade", "BAC", "2013-10-07T08:00:04.499000+00:00", "1", {"price": 13.95, "size": 200}),
    ]  # fmt: skip
    assert got.lines == [2, 3]
    assert got.events[0].received_at < got.events[1].received_at, "the later line holds"


def test_trades_without_an_id_have_their_line_number(tmp_path: Path) -> None:
    got = whole(written(tmp_path / "t.csv", "ts,price\n2013-10-07,1\n\n2013-10-07,2\n"), "trade", symbol="BAC")
    assert [event.vendor_id for event in got.events] == ["2", "4"]


def test_quotes_of_json_lines_with_a_middle_price_where_there_is_none(tmp_path: Path) -> None:
    lines = (
        b'{"symbol": "spy", "time": 1773489600, "bid": 10.1, "ask": 10.2, "venue": {"id": 4}}\n'
        b'{"time": "1773489601000", "symbol": "SPY", "price": "10.15"}\n'
    )
    got = whole(written(tmp_path / "q.jsonl", lines), "quote")
    assert [(event.symbol, (event.event_time - NOW).seconds, event.payload) for event in got.events] == [
        ("SPY", 0, {"bid": 10.1, "ask": 10.2, "price": 10.15, "extra": {"venue": {"id": 4}}}),
        ("SPY", 1, {"price": 10.15}),
    ]
    assert {event.vendor_id for event in got.events} == {""}


@pytest.mark.parametrize("packed", [False, True])
def test_bars_of_a_parquet_file(tmp_path: Path, packed: bool) -> None:
    table = pa.table(
        {
            "ts": pa.array([NOW, NOW + timedelta(minutes=5)], pa.timestamp("ns", "Europe/Berlin")),
            "symbol": pa.array(["BTCUSD", "BTCUSD"]).dictionary_encode(),
            "open": [1.5, 2.0], "high": [3.0, 3.0], "low": [1.0, 1.0], "close": [2.5, None], "volume": [7.25, 1.0],
        }
    )  # fmt: skip
    pq.write_table(table, tmp_path / "b.parquet")
    file = tmp_path / "b.parquet"
    if packed:
        file = written(tmp_path / "b.parquet.gz", gzip.compress(file.read_bytes()))
    got = whole(file, "bar", resolution="5m")
    assert [(event.symbol, event.event_time, event.payload) for event in got.events] == [
        ("BTCUSD", NOW, {"resolution": "5m", "open": 1.5, "high": 3.0, "low": 1.0, "close": 2.5, "volume": 7.25})
    ]
    assert [(bad.line_number, bad.reason) for bad in got.rejected] == [(2, "close is missing")]
    assert b'"open":2.0' in got.rejected[0].raw


BAD_LINES = b"""\
symbol;ts;price\r
A;2026-01-01;1\r
A;2026-01-01;1,5\r
A;someday;1\r
A;2026-01-01;\r
A;2026-01-01\r
A;2026-01-01;1;2\r
"A;2026-01-01;1\r
;2026-01-01;1\r
A B;2026-01-01;1\r
A\xff;2026-01-01;1\r
A\x00;2026-01-01;1\r
"A";2026-01-01;"2"\r
A;2026-01-01;3"""


def test_a_bad_line_is_rejected_with_its_number_and_text_and_never_stops_the_file(tmp_path: Path) -> None:
    got = whole(written(tmp_path / "q.csv", BAD_LINES), "quote")
    assert [event.payload["price"] for event in got.events] == [1, 2, 3]
    assert got.lines == [2, 13, 14]
    assert [(bad.line_number, bad.reason.partition(":")[0]) for bad in got.rejected] == [
        (3, "price is '1,5'; it must be a number"),
        (4, "time is 'someday'; it must be ISO 8601, a date, or an epoch time"),
        (5, "price is missing"),
        (6, "2 values, but the header names 3 columns"),
        (7, "4 values, but the header names 3 columns"),
        (8, "no CSV"),
        (9, "symbol is missing"),
        (10, "symbol is 'A B'; it cannot be one"),
        (11, "not UTF-8"),
        (12, "the line holds a NUL character"),
    ]
    assert got.rejected[0].raw == b"A;2026-01-01;1,5"


def test_bad_json_lines_are_rejected_one_by_one(tmp_path: Path) -> None:
    lines = (
        b'\xef\xbb\xbf{"ts": "2026-01-01", "price": 1}\n{"ts": \n[1]\n{"ts": "2026-01-01", "price": NaN}\n'
        b'{"ts": "2026-01-01", "price": true}\n{"when": "2026-01-01", "price": 1}\n{"ts": "2026-01-01", "price": 2,'
        b' "note": "a\\u0000b"}\n'
    )
    got = whole(written(tmp_path / "q.jsonl", lines), "quote", symbol="A")
    assert got.lines == [1]
    assert [(bad.line_number, bad.reason.split(":")[0]) for bad in got.rejected] == [
        (2, "no JSON"),
        (3, "not an event"),
        (4, "no JSON"),
        (5, "price is True; it must be a number"),
        (6, f"{tmp_path / 'q.jsonl'} cannot be read as quotes"),
        (7, "not an event"),
    ]


def test_a_line_without_an_end_costs_no_memory_and_is_rejected(tmp_path: Path) -> None:
    line = b"A,2026-01-01,1\n"
    file = written(tmp_path / "q.csv.gz", gzip.compress(b"symbol,ts,price\n" + b"9" * 30_000_000 + b"\n" + line))
    tracemalloc.start()
    got = whole(file, "quote")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (got.lines, [bad.line_number for bad in got.rejected], len(got.rejected[0].raw)) == ([3], [2], 2000)
    assert peak < 8_000_000


def test_columns_of_the_same_name_do_not_hide_each_other(tmp_path: Path) -> None:
    got = whole(written(tmp_path / "q.csv", "ts,price,,\n2026-01-01,1,a,b\n"), "quote", symbol="A")
    assert got.events[0].payload == {"price": 1, "extra": {"": "a", "_2": "b"}}


@pytest.mark.parametrize(
    ("name", "content", "error", "said"),
    [
        ("q.csv", "", ConfigError, "no header line: it is empty"),
        ("q.csv", "ts,price\n", ConfigError, "no row that can be read"),
        ("q.csv", "a,b\n1,2\n", ConfigError, r"Its columns are: a, b\."),
        ("q.xlsx", "", ConfigError, r"must end in \.csv"),
        ("q.parquet", "no parquet at all", SourceError, "q.parquet is no Parquet file that can be read"),
        ("q.csv.gz", gzip.compress(TRADES.encode() * 50, mtime=0)[:60], SourceError, "read: Compressed file ended"),
        ("q.csv.gz", b"\x1f\x8bjunk", SourceError, "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error(
    tmp_path: Path, name: str, content: str | bytes, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        whole(written(tmp_path / name, content), "quote", symbol="A")


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file"):
        whole(tmp_path / "none.csv", "quote")


@pytest.mark.parametrize("options", [{"kind": "tick"}, {"kind": "bar", "resolution": "2m"}])
def test_a_wrong_kind_or_resolution_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"must be one of quote, trade, bar|bars are of 1m, 5m, 1h, 1d"):
        Query(tmp_path / "q.csv", **options)


@given(rows=st.integers(1, 40), chunk=st.integers(1, 50), limit=st.none() | st.integers(1, 50))
def test_the_size_of_the_chunks_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, rows: int, chunk: int, limit: int | None
) -> None:
    lines = [f"{n},2026-01-01,{'x' if n % 7 == 3 else n}" for n in range(rows)]
    file = written(tmp_path_factory.mktemp("h") / "t.csv", "\n".join(["id,ts,price", *lines]))
    got = whole(file, "trade", symbol="A", chunk=chunk, limit=limit)
    assert got == whole(file, "trade", symbol="A", limit=limit)
    assert len(got.events) + len(got.rejected) == min(rows, limit or rows)


REAL = [
    ("candles/bac_ticks_trades_20131007_08.csv.gz", "trade", {"symbol": "BAC"}, 214044, 0),
    ("candles/us_equity_1min_trades.csv.gz", "bar", {}, 11808, 0),
    ("candles/us_equity_1min_quotes.csv.gz", "quote", {}, 13241, 5),  # 5 rows have no bid
    ("candles/spy_1sec_trades_20131007_08.csv.gz", "trade", {}, 39058, 0),
    ("candles/xrpeth_binance_trades_20191011.csv.gz", "trade", {"symbol": "XRPETH"}, 5929, 0),
    ("candles/coinbase_1min_trades_201804.csv.gz", "bar", {}, 6336, 0),
    ("candles/coinbase_1min_quotes_201804.csv.gz", "quote", {}, 5749, 0),
    ("candles/gbpusd_1min_bid_ask_201202.csv.gz", "quote", {}, 30117, 0),
    ("candles/cme_6eh4_1min_202401.csv.gz", "bar", {}, 29996, 0),
    ("candles/bac_expected_1min_from_ticks_20131007_08.csv", "bar", {}, 1168, 0),
    ("signals_backtest/spy_1min_202012_expected_indicators.csv.gz", "quote", {"symbol": "SPY"}, 1564, 0),
    ("signals_backtest/spy_daily_expected_signals.csv", "quote", {"symbol": "SPY"}, 24, 0),
    ("indicators/spy_intraday_1min_quotes.csv", "bar", {"symbol": "SPY"}, 1564, 0),
    ("indicators/spy_daily_quotes.csv", "bar", {"symbol": "SPY", "resolution": "1d"}, 502, 0),
    ("indicators/btcusd_daily_quotes.csv", "bar", {"symbol": "BTCUSD", "resolution": "1d"}, 1246, 0),
]


@pytest.mark.data
@pytest.mark.parametrize(("name", "kind", "options", "events", "rejected"), REAL, ids=lambda value: str(value)[:40])
def test_real_files_are_read_to_the_last_row(
    shared_data: Path, name: str, kind: str, options: dict[str, Any], events: int, rejected: int
) -> None:
    got = whole(shared_data / name, kind, **options)
    assert (len(got.events), len(got.rejected)) == (events, rejected)


@pytest.mark.data
def test_a_large_parquet_file_is_read_with_flat_memory(shared_data: Path) -> None:
    query = Query(shared_data / "candles" / "bitfinex_1min_2018q1.parquet", "bar", limit=40_000)
    batches = read(query, received_at=NOW)
    first = next(batches)
    assert first.events[0].payload == {
        "resolution": "1m", "open": 13763.0, "high": 13788.0, "low": 13752.18233851, "close": 13753.0,
        "volume": 5.13326771,
    }  # fmt: skip
    tracemalloc.start()
    rows = len(first.events) + sum(len(batch.events) for batch in batches)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == 40_000
    assert peak < 60_000_000, "one chunk of 10,000 rows at a time"
