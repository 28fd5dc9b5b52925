"""CoinGecko's client against a local server that answers what such servers answer."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from include.errors import ConfigError, MisfitError, SourceError
from include.events import Window
from include.instruments import Instrument
from include.settings import Settings
from include.sources import coingecko
from include.sources.base import Batch
from include.sources.coingecko import CoinGecko
from include.sources.gate import Limits
from tests.faults.proxy import Answer, Cut, Fault, FaultProxy, Hang, Reset

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
MINUTE = Window(NOON - timedelta(minutes=1), NOON)
HOUR = Window(NOON - timedelta(hours=1), NOON)
BTC = Instrument("BTC-USD", "crypto", "USD", "24/7", "coingecko", {"coingecko": "bitcoin"})
ETH = Instrument("ETH-USD", "crypto", "USD", "24/7", "coingecko", {"coingecko": "ethereum"})
SPY = Instrument("SPY", "equity", "USD", "XNYS", "simulator", {"simulator": "SPY"})

BITCOIN = {"id": "bitcoin", "current_price": 64000.5, "last_updated": "2026-03-14T11:59:31.554Z"}
ETHEREUM = {"id": "ethereum", "current_price": 3100, "last_updated": "2026-03-14T11:59:30Z"}


def listed(*coins: Any) -> Answer:
    return Answer(200, json.dumps(coins).encode(), {"Content-Type": "application/json; charset=utf-8"})


GOOD = listed(BITCOIN, ETHEREUM)


def source(vendor: FaultProxy, **settings: Any) -> CoinGecko:
    url = f"{vendor.url}/api/v3/"
    return CoinGecko(Settings(_env_file=None, **({"coingecko_url": url, "http_timeout_seconds": 5} | settings)))


def fetch(vendor: FaultProxy, *instruments: Instrument, **settings: Any) -> Batch:
    whole = Batch()
    for batch in source(vendor, **settings).fetch(MINUTE, instruments or (BTC, ETH, SPY)):
        whole.events += batch.events
        whole.rejected += batch.rejected
    return whole


def test_each_coin_becomes_a_quote_at_its_own_time_with_the_payload_as_sent(vendor: FaultProxy) -> None:
    vendor.add(GOOD)
    got = fetch(vendor)
    assert [(e.source, e.kind, e.symbol, e.event_time, e.vendor_id, e.payload) for e in got.events] == [
        ("coingecko", "quote", "BTC-USD", NOON - timedelta(seconds=28.446), "", BITCOIN),
        ("coingecko", "quote", "ETH-USD", NOON - timedelta(seconds=30), "", ETHEREUM),
    ]
    assert {event.complete_until for event in got.events} == {NOON}
    assert got.rejected == []
    (seen,) = vendor.seen
    assert seen.request.path == (
        "/api/v3/coins/markets?vs_currency=usd&ids=bitcoin%2Cethereum&per_page=250&page=1&precision=full"
    )


@pytest.mark.data
def test_a_recorded_body_of_the_vendor_is_understood(vendor: FaultProxy, shared_data: Path) -> None:
    body = (shared_data / "payloads" / "coingecko" / "coins_markets.json").read_bytes()
    vendor.add(Answer(200, body, {"Content-Type": "application/json"}))
    coins = json.loads(body)
    asked = [Instrument(coin["symbol"], "crypto", "USD", "", "", {"coingecko": coin["id"]}) for coin in coins]
    got = fetch(vendor, *asked)
    assert [event.payload for event in got.events] == coins
    assert got.events[0].event_time == datetime(2023, 1, 7, 11, 29, 25, 554000, tzinfo=UTC)
    assert got.rejected == []


def test_many_coins_are_asked_for_in_pages_and_only_the_last_says_complete(
    vendor: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coingecko, "PAGE", 1)
    vendor.add(listed(BITCOIN), path=".*ids=bitcoin&.*")
    vendor.add(listed(ETHEREUM), path=".*ids=ethereum&.*")
    got = fetch(vendor)
    assert [(event.symbol, event.complete_until) for event in got.events] == [("BTC-USD", None), ("ETH-USD", NOON)]


@pytest.mark.parametrize(
    ("coin", "reason"),
    [
        ("bitcoin", "not an object but str"),
        (None, "not an object but NoneType"),
        (BITCOIN | {"id": 7}, "id is 7, which was not asked for"),
        (BITCOIN | {"id": "dogecoin"}, "id is 'dogecoin', which was not asked for"),
        (BITCOIN | {"last_updated": None}, "last_updated is None; it must be an ISO 8601 time"),
        (BITCOIN | {"last_updated": "yesterday"}, "last_updated is 'yesterday'; it must be an ISO 8601 time"),
        (BITCOIN | {"last_updated": "2026-03-14T11:59:31"}, "last_updated is '2026-03-14T11:59:31'; it must carry"),
    ],
)
def test_a_bad_object_is_rejected_with_its_place_and_the_others_are_kept(
    vendor: FaultProxy, coin: Any, reason: str
) -> None:
    vendor.add(listed(ETHEREUM, coin))
    got = fetch(vendor)
    assert [event.symbol for event in got.events] == ["ETH-USD"]
    (bad,) = got.rejected
    assert bad.line_number == 100_002
    assert bad.reason.startswith(reason)
    assert json.loads(bad.raw) == coin


def test_what_a_price_is_worth_is_left_to_the_audit(vendor: FaultProxy) -> None:
    vendor.add(listed(BITCOIN | {"current_price": "n/a"}))
    assert fetch(vendor).events[0].payload["current_price"] == "n/a"


@pytest.mark.parametrize(
    "fault",
    [
        Answer(500, b"oops"),
        Answer(503, b""),
        Answer(429, b'{"status":{"error_code":429}}'),
        Answer(200, b"<html><title>Just a moment...</title></html>", {"Content-Type": "text/html"}),
        Answer(200, GOOD.body[:40]),
        Answer(200, GOOD.body, {"Content-Encoding": "gzip"}),
        Cut(0.5, GOOD),
        Reset(),
    ],
    ids=lambda fault: f"{type(fault).__name__}{getattr(fault, 'status', '')}",
)
def test_a_passing_fault_is_tried_again_with_growing_breaks(
    vendor: FaultProxy, pauses: list[float], fault: Fault
) -> None:
    vendor.add(fault, times=3)
    vendor.add(GOOD)
    assert len(fetch(vendor).events) == 2
    assert len(vendor.seen) == 4
    assert [0.5 <= pauses[0] <= 1, 1 <= pauses[1] <= 1.5, 2 <= pauses[2] <= 2.5] == [True] * 3


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Answer(500, b"oops"), r"CoinGecko: answered 500 \('oops'\) \(attempt 4 of 4, given up\)"),
        (Answer(200, b"<html>Checking your browser</html>"), "no JSON but '<html>Checking your browser</html>'"),
        (Cut(0.5, GOOD), "the connection failed: peer closed connection without sending complete message body"),
    ],
)
def test_a_lasting_fault_ends_in_an_error_that_names_the_vendor_and_the_reason(
    vendor: FaultProxy, pauses: list[float], fault: Fault, said: str
) -> None:
    vendor.add(fault, times=None)
    with pytest.raises(SourceError, match=said):
        fetch(vendor)
    assert len(vendor.seen) == 4


def test_a_vendor_that_hangs_is_given_up(vendor: FaultProxy, pauses: list[float]) -> None:
    vendor.add(Hang(), times=None)
    with pytest.raises(SourceError, match=r"no answer within 0\.1 s"):
        fetch(vendor, http_timeout_seconds=0.1)


def test_retry_after_is_honoured_in_seconds_and_as_a_date(vendor: FaultProxy, pauses: list[float]) -> None:
    vendor.add(Answer(429, b"", {"Retry-After": "17"}))
    vendor.add(Answer(503, b"", {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=30))}))
    vendor.add(Answer(503, b"", {"Retry-After": "soon"}))
    vendor.add(GOOD)
    assert len(fetch(vendor).events) == 2
    assert pauses[0] == 17
    assert 27 <= pauses[1] <= 30
    assert pauses[2] < 5


def test_a_break_longer_than_our_patience_ends_the_attempt_at_once(vendor: FaultProxy, pauses: list[float]) -> None:
    vendor.add(Answer(429, b"", {"Retry-After": "86400"}), times=None)
    with pytest.raises(SourceError, match=r"429 .* asks for a break of 86400 s \(attempt 1 of 4, given up\)"):
        fetch(vendor)
    assert (len(vendor.seen), pauses) == (1, [])


@pytest.mark.parametrize("body", [b'{"status": "ok"}', b"7", b"null"])
def test_another_kind_of_answer_is_an_error_without_a_retry(vendor: FaultProxy, body: bytes) -> None:
    vendor.add(Answer(200, body))
    with pytest.raises(MisfitError, match="no list of coins") as misfit:
        fetch(vendor)
    assert (len(vendor.seen), misfit.value.raw) == (1, body)


def test_an_empty_list_is_an_error_that_says_where_to_look(vendor: FaultProxy) -> None:
    vendor.add(listed())
    with pytest.raises(SourceError, match=r"none of the 2 coins asked for \(bitcoin, ethereum.*instruments\.csv"):
        fetch(vendor)


@pytest.mark.parametrize(("plan", "header"), [("demo", "x-cg-demo-api-key"), ("pro", "x-cg-pro-api-key")])
def test_the_key_travels_in_the_header_of_its_plan_and_nowhere_else(
    vendor: FaultProxy, caplog: pytest.LogCaptureFixture, plan: str, header: str
) -> None:
    caplog.set_level(logging.DEBUG)
    vendor.add(Answer(401, b"invalid key CG-s3cret"))
    with pytest.raises(SourceError, match=r"401.*QUANTSTREAM_COINGECKO_API_KEY") as refused:
        fetch(vendor, coingecko_plan=plan, coingecko_api_key="CG-s3cret\n")
    (seen,) = vendor.seen
    assert seen.request.header(header) == "CG-s3cret"
    assert "CG-s3cret" not in seen.request.path
    assert "CG-s3cret" not in f"{refused.value!r} {refused.value.__cause__!r} {caplog.text}"


def test_each_plan_has_its_address() -> None:
    urls = [
        CoinGecko(Settings(_env_file=None, coingecko_plan=plan, coingecko_api_key=key)).url
        for plan, key in (("public", None), ("demo", "k"), ("pro", "k"))
    ]
    assert urls == ["https://api.coingecko.com/api/v3"] * 2 + ["https://pro-api.coingecko.com/api/v3"]


@pytest.mark.parametrize(("plan", "key"), [("public", "CG-s3cret"), ("demo", None), ("pro", ""), ("pro", "CG-\u2026")])
def test_a_key_that_does_not_fit_the_plan_is_refused_without_showing_it(plan: Any, key: str | None) -> None:
    with pytest.raises(ConfigError, match="COINGECKO_PLAN") as refused:
        CoinGecko(Settings(_env_file=None, coingecko_plan=plan, coingecko_api_key=key))
    assert "CG-" not in str(refused.value)


@pytest.mark.parametrize(("plan", "key", "per_minute"), [("public", None, 5), ("demo", "k", 30), ("pro", "k", 500)])
def test_each_plan_has_its_budget(plan: Any, key: str | None, per_minute: int) -> None:
    asked = CoinGecko(Settings(_env_file=None, coingecko_plan=plan, coingecko_api_key=key))
    assert asked.limits == Limits(per_minute=per_minute)


def ms(minutes: float) -> int:
    """So many minutes after 11:00, in milliseconds since 1970."""
    return round((HOUR.start + timedelta(minutes=minutes)).timestamp() * 1000)


def chart(*minutes: float) -> dict[str, Any]:
    return {
        "prices": [[ms(at), 64000.5 + at] for at in minutes],
        "market_caps": [[ms(at), 1e12 + at] for at in minutes],
        "total_volumes": [[ms(at), 3e10 + at] for at in minutes],
    }


def past(vendor: FaultProxy, *instruments: Instrument, window: Window = HOUR, **settings: Any) -> Batch:
    whole = Batch()
    for batch in source(vendor, **settings).fetch(window, instruments or (BTC,), "quote"):
        whole.events += batch.events
        whole.rejected += batch.rejected
    return whole


def charted(body: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(body).encode(), {"Content-Type": "application/json"})


def test_points_of_the_past_become_quotes_of_the_window(vendor: FaultProxy) -> None:
    vendor.add(charted(chart(-4.5, 0, 5.25, 60)))
    got = past(vendor)
    assert [(e.kind, e.symbol, e.event_time, e.vendor_id, e.payload, e.complete_until) for e in got.events] == [
        ("quote", "BTC-USD", HOUR.start, "",
         {"price": 64000.5, "market_cap": 1e12, "total_volume": 3e10}, NOON),
        ("quote", "BTC-USD", HOUR.start + timedelta(minutes=5.25), "",
         {"price": 64005.75, "market_cap": 1e12 + 5.25, "total_volume": 3e10 + 5.25}, NOON),
    ]  # fmt: skip
    assert got.rejected == []
    (seen,) = vendor.seen
    start = ms(0) // 1000
    assert seen.request.path == (
        f"/api/v3/coins/bitcoin/market_chart/range?vs_currency=usd&from={start}&to={start + 3600}&precision=full"
    )


def test_long_windows_are_asked_for_in_parts_short_enough_for_a_point_an_hour(vendor: FaultProxy) -> None:
    vendor.add(charted(chart()), times=None)
    past(vendor, BTC, ETH, window=Window(NOON - timedelta(days=100), NOON))
    spans = [re.search(r"coins/(\w+)/.*from=(\d+)&to=(\d+)", one.request.path) for one in vendor.seen]
    assert [(span[1], (int(span[3]) - int(span[2])) / 86400) for span in spans if span] == [
        ("bitcoin", 90), ("bitcoin", 10), ("ethereum", 90), ("ethereum", 10),
    ]  # fmt: skip


def test_columns_of_different_length_are_put_together_by_their_time(vendor: FaultProxy) -> None:
    body = chart(0, 5) | {"market_caps": [[ms(5), 7]], "total_volumes": [[ms(0), 8], [ms(9), 9]]}
    vendor.add(charted(body))
    got = past(vendor)
    assert [event.payload for event in got.events] == [
        {"price": 64000.5, "total_volume": 8},
        {"price": 64005.5, "market_cap": 7},
    ]
    assert [bad.reason for bad in got.rejected] == ["total_volume stands beside a time without a price"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ([], "the answer has no lists prices, market_caps, total_volumes"),
        ({"prices": []}, "the answer has no lists prices, market_caps, total_volumes"),
        (chart() | {"prices": [7]}, "price is no pair of a time and a value"),
        (chart() | {"prices": [[ms(0)]]}, "price is no pair of a time and a value"),
        (chart() | {"prices": [["noon", 1]]}, "the time of price is 'noon'; it must be an epoch time"),
    ],
)
def test_a_chart_of_another_form_is_rejected(vendor: FaultProxy, body: Any, reason: str) -> None:
    vendor.add(charted(body))
    got = past(vendor)
    assert ([(bad.reason, bad.kind, bad.symbol) for bad in got.rejected], got.events) == (
        [(reason, "quote", "BTC-USD")], [],
    )  # fmt: skip


def test_an_unknown_coin_costs_only_itself(vendor: FaultProxy) -> None:
    vendor.add(charted({"error": "coin not found"}, 404), path=r".*/coins/bitcoin/.*", times=None)
    vendor.add(charted(chart(0)), path=r".*/coins/ethereum/.*")
    got = past(vendor, BTC, ETH)
    assert [(event.symbol, event.complete_until) for event in got.events] == [("ETH-USD", NOON)]
    assert [(bad.symbol, bad.reason) for bad in got.rejected] == [
        ("BTC-USD", "CoinGecko does not know bitcoin (answered 404); correct the column coingecko in instruments.csv")
    ]
    with pytest.raises(SourceError, match="refused all"):
        past(vendor, BTC)


def test_a_past_that_the_plan_does_not_have_is_an_error_that_names_the_plan(vendor: FaultProxy) -> None:
    said = {"error": {"status": {"error_code": 10012, "error_message": "allowed time range: past 365 days"}}}
    vendor.add(charted(said, 401))
    with pytest.raises(SourceError, match=r"answered 401 .*365 days.*QUANTSTREAM_COINGECKO_PLAN"):
        past(vendor)


@pytest.mark.parametrize("kind", ["bar", "trade"])
def test_there_is_no_history_of_other_kinds(vendor: FaultProxy, kind: Any) -> None:
    with pytest.raises(ConfigError, match=f"coingecko has no history of {kind}s, only of quotes"):
        list(source(vendor).fetch(HOUR, (BTC,), kind))
