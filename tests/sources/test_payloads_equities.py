"""Every recorded answer of Yahoo, Alpha Vantage and Polygon becomes what the table says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sources.payloads import Payload, summary
from tests.sources.payloads_equities import PAYLOADS

pytestmark = pytest.mark.data
VENDORS = ("yahoo", "alphavantage", "polygon")


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
    files = {str(path.relative_to(folder)) for path in folder.rglob("*.json") if path.name != "MANIFEST.json"}
    mine = {file for file in files if file.startswith(VENDORS) or file.split("/")[1].startswith(VENDORS)}
    assert {payload.file for payload in PAYLOADS} == mine


def parsed(file: str, shared_data: Path) -> list[tuple[str, str, str]]:
    (payload,) = [one for one in PAYLOADS if one.file == file]
    events = payload.parse(shared_data / "payloads" / file).events
    return [(event.kind, f"{event.event_time:%Y-%m-%d %H:%M:%S.%f}", event.vendor_id) for event in events]


def test_what_a_real_session_says_of_its_parts(shared_data: Path) -> None:
    (payload,) = [one for one in PAYLOADS if "TSLA" in one.file]
    batch = payload.parse(shared_data / "payloads" / payload.file)
    sessions = [event.payload["session"] for event in batch.events if event.kind == "bar"]
    assert sessions == ["pre"] * 11 + ["regular"] * 13 + ["post"] * 6


@pytest.mark.parametrize(
    ("file", "event"),
    [
        ("yahoo/chart_AAPL_1m_2024-10-02.json", ("quote", "2024-10-03 20:00:01.000000", "")),
        ("yahoo/chart_AAPL_1m_2024-10-02.json", ("bar", "2024-10-02 13:30:00.000000", "")),
        ("yahoo/chart_AAPL_1m_2024-10-02.json", ("bar", "2024-10-02 19:59:00.000000", "")),
        ("yahoo/chart_AAPL_1d_2020-08-31_2020-11-07_split_dividend.json",
         ("action", "2020-08-31 13:30:00.000000", "split")),
        ("yahoo/chart_AAPL_1d_2020-08-31_2020-11-07_split_dividend.json",
         ("action", "2020-11-06 14:30:00.000000", "dividend")),
        ("alphavantage/global_quote_MSFT.json", ("quote", "2018-10-05 20:00:00.000000", "")),
        ("alphavantage/currency_exchange_rate.json", ("quote", "2017-12-20 19:23:21.000000", "")),
        ("alphavantage/time_series_intraday_1min_MSFT_compact.json", ("bar", "2017-12-18 19:56:00.000000", "")),
        ("polygon/snapshot_tickers.json", ("quote", "2020-11-12 14:54:54.630916", "")),
        ("polygon/snapshot_tickers.json", ("bar", "2023-05-18 16:50:00.000000", "")),
        ("polygon/aggs_AAPL_1day_2005-04-01_2005-04-04.json", ("bar", "2005-04-01 05:00:00.000000", "")),
        ("polygon/trades_v3_AAPL.json", ("trade", "2022-04-28 21:37:02.461979", "11:3:183276")),
        ("polygon/trades_v3_AAPL.json", ("trade", "2022-04-28 21:37:02.461979", "12:3:183276")),
        ("polygon/last_trade_AAPL.json", ("trade", "2022-04-28 20:55:19.310617", "4:202:237688")),
    ],
)  # fmt: skip
def test_events_of_the_recorded_answers_stand_at_their_utc_times(
    file: str, event: tuple[str, str, str], shared_data: Path
) -> None:
    assert event in parsed(file, shared_data)
