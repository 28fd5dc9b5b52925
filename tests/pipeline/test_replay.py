"""Replay: rows end in the stream, bad lines in quarantine, and a file that cannot be used sends nothing."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from include.errors import ConfigError, SourceError, StreamError
from include.events import Event
from include.instruments import known_instruments
from include.pipeline import replay as module
from include.pipeline.replay import replay
from include.settings import Settings
from include.warehouse.db import connect
from tests.faults.proxy import LoseAnswer, RefuseRecords, aws_faults
from tests.pipeline.sent import impatient, in_stream, outcomes, quarantined  # noqa: F401  # a fixture

pytestmark = pytest.mark.stack

TRADES = """\
seq,symbol,ts_utc,price,size
1,BAC,2013-10-07T08:00:00.614Z,13.94,500
2,BAC,2013-10-07T08:00:04.499Z,n/a,200
3,SPY,2013-10-07T08:01:10Z,167.5,100
4,BAC,2013-10-07T08:02:00Z,13.95,100
"""


@pytest.fixture
def trades(tmp_path: Path) -> Path:
    file = tmp_path / "trades.csv.gz"
    file.write_bytes(gzip.compress(TRADES.encode()))
    return file


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 2)


def row(event: Event) -> tuple[Any, ...]:
    return (event.kind, event.symbol, event.event_time.strftime("%H:%M:%S"), event.vendor_id, event.payload["price"])


def test_rows_become_events_and_a_bad_line_is_quarantined_with_its_number(settings: Settings, trades: Path) -> None:
    report = replay(settings, trades, "trade", run_id="by hand")
    events = in_stream(settings)
    assert [row(event) for event in events] == [
        ("trade", "BAC", "08:00:00", "1", 13.94),
        ("trade", "SPY", "08:01:10", "3", 167.5),
        ("trade", "BAC", "08:02:00", "4", 13.95),
    ]
    assert {event.source for event in events} == {"replay"}
    assert events[-1].complete_until == datetime(2013, 10, 7, 8, 5, tzinfo=UTC)
    assert str(report) == (
        "trades.csv.gz: 3 events from 2013-10-07T08:00:00.614000Z to 2013-10-07T08:02:00.000000Z, 1 rows rejected"
    )
    ((origin, *rest),) = quarantined(settings)
    assert origin.startswith(f"{trades.resolve()} of 20")
    assert rest == [
        3, "replay", "trade", None, "price is 'n/a'; it must be a number", b"2,BAC,2013-10-07T08:00:04.499Z,n/a,200",
    ]  # fmt: skip
    (outcome,) = outcomes(settings)
    assert outcome[:2] + outcome[4:7] == ("replay", "replay", True, 3, "by hand")
    assert outcome[8] == {
        "file": str(trades), "kind": "trade", "rejected": 1, "registered": 0,
        "first": "2013-10-07T08:00:00.614000+00:00", "last": "2013-10-07T08:02:00+00:00",
    }  # fmt: skip


def test_sent_twice_the_events_are_equal_and_the_bad_line_is_kept_once(settings: Settings, trades: Path) -> None:
    replay(settings, trades, "trade")
    replay(settings, trades, "trade")
    seen = Counter(
        (event.symbol, event.event_time, event.vendor_id, str(event.payload)) for event in in_stream(settings)
    )
    assert set(seen.values()) == {2}
    assert len(quarantined(settings)) == 1


@pytest.mark.usefixtures("small_chunks")
def test_after_each_chunk_the_caller_may_bring_it_on(settings: Settings, trades: Path) -> None:
    said: list[Any] = []
    replay(settings, trades, "trade", drain=lambda: said.append(len(in_stream(settings))), progress=said.append)
    assert said == [2, 1, 4, 3], "rows done, then events in the stream, for each of two chunks"


@pytest.mark.usefixtures("small_chunks")
def test_a_chunk_says_how_far_the_source_is_complete(settings: Settings, trades: Path) -> None:
    replay(settings, trades, "trade")
    marks = [event.complete_until for event in in_stream(settings)]
    assert [f"{mark:%H:%M:%S}" if mark else None for mark in marks] == ["08:00:00", None, "08:05:00"]


def test_only_the_first_rows_if_asked(settings: Settings, trades: Path) -> None:
    report = replay(settings, trades, "trade", limit=2)
    assert (report.events, report.rejected) == (1, 1)


def test_the_last_row_may_be_now(settings: Settings, trades: Path) -> None:
    report = replay(settings, trades, "trade", retime=True)
    assert timedelta() <= datetime.now(UTC) - report.last < timedelta(minutes=1, seconds=10)
    assert [event.event_time for event in in_stream(settings)][-1] == report.last
    assert report.last - report.first == timedelta(seconds=119.386)


def test_columns_may_be_mapped_and_rows_spaced(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "q.csv"
    file.write_text("when,px\n2020-01-01,1\n2020-01-02,2\n2020-01-03,3\n")
    replay(
        settings, file, "quote", columns={"time": "when", "price": "px"}, symbol="SPY", every=timedelta(minutes=1)
    )  # fmt: skip
    assert [row(event) for event in in_stream(settings)] == [
        ("quote", "SPY", "00:00:00", "", 1), ("quote", "SPY", "00:01:00", "", 2), ("quote", "SPY", "00:02:00", "", 3),
    ]  # fmt: skip


def test_a_speed_keeps_the_pace_of_the_rows(settings: Settings, trades: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(module, "monotonic", lambda: clock[0])
    monkeypatch.setattr(module, "sleep", sleep)
    sizes: list[int] = []
    replay(settings, trades, "trade", speed=10, drain=lambda: sizes.append(len(in_stream(settings))))
    assert sizes == [1, 2, 3]
    assert pauses == pytest.approx([6.9386, 5.0]), "119.386 seconds at ten times their pace"


def test_unknown_symbols_are_listed_and_nothing_is_sent(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "b.csv"
    file.write_text("symbol,ts,price\nBTCUSD,2020-01-01,1\nSPY,2020-01-01,1\nxrpeth,2020-01-01,1\n")
    with pytest.raises(ConfigError) as refused:
        replay(settings, file, "quote")
    assert "not among the instruments: BTCUSD, XRPETH.\n" in str(refused.value)
    assert "--add-instruments crypto" in str(refused.value)
    assert in_stream(settings) == []
    assert outcomes(settings)[0][4] is False


def test_unknown_symbols_may_be_registered(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "b.csv"
    file.write_text("symbol,ts,price\nBTCUSD,2020-01-01,1\nSPY,2020-01-01,1\n")
    report = replay(settings, file, "quote", add_instruments="crypto")
    assert (report.events, report.registered) == (2, 1)
    with connect(settings) as conn:
        added = known_instruments(conn, settings)[-1]
    assert (added.symbol, added.asset_class, added.ids) == ("BTCUSD", "crypto", {"replay": "BTCUSD"})


@pytest.mark.parametrize(
    ("name", "content", "options", "error", "said"),
    [
        ("a.csv", b"a,b\n1,2\n", {}, ConfigError, r"no column for price(?s:.*)Its columns are: a, b\."),
        ("a.csv", b"ts,symbol,price\n", {}, ConfigError, "no row that can be read"),
        ("a.csv.gz", gzip.compress(TRADES.encode(), mtime=0)[:40], {}, SourceError, "cannot be read"),
        ("a.csv", TRADES.encode(), {"add_instruments": "fx"}, ConfigError, "asset class 'fx'"),
        ("a.csv", TRADES.encode(), {"speed": 0}, ConfigError, "speed is 0; it must be more than 0"),
        ("a.csv", TRADES.encode(), {"every": timedelta(-1)}, ConfigError, "rows cannot be"),
    ],
)
def test_what_cannot_be_used_sends_nothing(
    settings: Settings, tmp_path: Path, name: str, content: bytes, options: dict[str, Any], error: Any, said: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content.replace(b"SPY", b"NEW"))
    with pytest.raises(error, match=said):
        replay(settings, file, "trade", **options)
    assert (in_stream(settings), quarantined(settings)) == ([], [])


def test_a_row_over_one_mebibyte_is_quarantined(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    rows = [{"ts": "2020-01-01", "price": 1}, {"ts": "2020-01-02", "price": 2, "note": "x" * (1024 * 1024 - 60)}]
    file.write_text("\n".join(json.dumps(row) for row in rows))
    report = replay(settings, file, "quote", symbol="SPY")
    assert (report.events, report.rejected) == (1, 1)
    ((_, line, _, _, symbol, reason, _),) = quarantined(settings)
    assert (line, symbol) == (2, "SPY")
    assert reason.startswith("the record has 1,0")


def test_a_lost_acknowledgement_costs_nothing(settings: Settings, trades: Path) -> None:
    with aws_faults(settings) as (proxy, through):
        proxy.add(LoseAnswer(), operation="PutRecords")
        assert replay(through, trades, "trade").events == 3
    assert len({event.vendor_id for event in in_stream(settings)}) == 3


@pytest.mark.usefixtures("impatient")
def test_rows_that_the_stream_does_not_take_fail_the_replay(settings: Settings, trades: Path) -> None:
    with aws_faults(settings) as (proxy, through):
        proxy.add(RefuseRecords((0, 1, 2)), operation="PutRecords", times=None)
        with pytest.raises(StreamError, match="did not take 3 of 3 events"):
            replay(through, trades, "trade")
    assert outcomes(settings)[0][4] is False


@pytest.mark.data
def test_real_trades_reach_the_stream_to_the_last_one(settings: Settings, shared_data: Path) -> None:
    file = shared_data / "candles" / "xrpeth_binance_trades_20191011.csv.gz"
    done: list[int] = []
    report = replay(settings, file, "trade", symbol="XRPETH", add_instruments="crypto", progress=done.append)
    events = in_stream(settings)
    assert (report.events, report.rejected, len(events), done) == (5929, 0, 5929, [5929])
    assert len({event.vendor_id for event in events}) == 5929
