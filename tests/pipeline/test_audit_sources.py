"""A load of several sources: the one that is bad is set aside, the others come in; what is bad as a whole stays out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from include.errors import LoadRejectedError
from include.events import Event
from include.pipeline.audit import AuditReport, accept_rejected, audit
from include.settings import Settings
from include.warehouse.db import connect
from tests.landing import add_load, event, quote

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
COINS = [
    "BTC-USD", "ETH-USD", "SOL-USD", "XRP-USD", "ADA-USD", "DOGE-USD", "AVAX-USD", "DOT-USD", "LINK-USD", "LTC-USD",
    "BCH-USD", "UNI-USD", "ATOM-USD", "XLM-USD", "NEAR-USD",
]  # fmt: skip
TOO_FEW = (
    "known_symbols_are_present: observed 0.2; "
    "the pull brought too few of the source's symbols (audit_min_symbol_share)"
)  # fmt: skip
TOO_BAD = "bad_rows_are_few: observed 0.4; too many of the rows are bad (audit_max_bad_share)"

Make = Callable[..., Settings]


@pytest.fixture
def two(make_settings: Make, template_marts: str) -> Settings:
    """Coinbase and CoinGecko are pulled, 15 coins each."""
    return make_settings(template=template_marts, sources=["coinbase", "coingecko"])


def coinbase(symbol: str, price: object = 9, **more: Any) -> Event:
    return quote(symbol, price, at=NOON, source="coinbase", **more)


def coingecko(symbol: str, price: object = 9) -> Event:
    return event("quote", symbol, {"current_price": price}, at=NOON, source="coingecko")


def all_coins(one: Callable[..., Event], *, bad: int = 0) -> list[Event]:
    """A quote of each coin; the first ones are bad."""
    return [one(symbol, -1 if number < bad else 9) for number, symbol in enumerate(COINS)]


def put(settings: Settings, *events: Event, **more: Any) -> int:
    with connect(settings) as conn:
        return add_load(conn, events, **more)


def rows(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    with connect(settings) as conn:
        return conn.execute(query).fetchall()


def came_in(settings: Settings) -> dict[str, int]:
    return dict(rows(settings, "select source, count(*) from raw.market_events group by 1"))


WATERMARKS = "select source, complete_until from ops.watermarks order by 1"
REASONS = "select source, reason, count(*) from raw.rejected_events group by 1, 2 order by 1, 3"
BAD_PRICE = (
    "price_is_positive: expect_column_values_to_be_between(price) found -1; the price must be above 0 and finite"
)


def test_a_source_with_too_many_bad_rows_is_set_aside_and_the_other_comes_in(
    two: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    load = put(two, *all_coins(coinbase, bad=6), *all_coins(coingecko), origin="raw/mixed.jsonl.gz")

    with caplog.at_level(logging.WARNING):
        report = audit(two, run_id="a run", now=NOON)

    assert report == AuditReport(accepted=1, inserted=15, quarantined=15)
    assert str(report) == (
        f"1 loads accepted: 15 rows inserted, 0 duplicates, 15 quarantined, coinbase of load {load} was set aside"
    )
    assert f"load {load} (raw/mixed.jsonl.gz): coinbase was set aside: {TOO_BAD}" in caplog.text
    assert came_in(two) == {"coingecko": 15}
    assert rows(two, REASONS) == [
        ("coinbase", f"{BAD_PRICE} | set aside: {TOO_BAD}", 6),
        ("coinbase", f"set aside: {TOO_BAD}", 9),
    ]
    assert rows(two, "select state, read_count, inserted_count, duplicate_count, quarantined_count from ops.loads") == [
        ("accepted", 30, 15, 0, 15)
    ]


def test_the_operator_is_told_by_an_alert_the_outcome_the_ledger_and_the_page(two: Settings) -> None:
    load = put(two, *all_coins(coinbase, bad=6), *all_coins(coingecko), origin="raw/mixed.jsonl.gz")
    audit(two, now=NOON)

    (alert,) = rows(two, "select rule, category, severity, message from marts.alerts")
    page = two.home / "data_docs" / "loads" / f"{load}.html"
    assert alert == (
        "source_set_aside", "operations", "critical",
        f"coinbase was set aside in load {load}: its 15 rows from raw/mixed.jsonl.gz are in quarantine, the other "
        f"sources came in:\n  {TOO_BAD}\nData docs: {page} (in the Airflow UI: Browse, Data docs). "
        f"`quantstream loads show {load}` shows it.",
    )  # fmt: skip
    assert rows(two, "select ok, detail -> 'set_aside' from ops.outcomes where step = 'audit_load'") == [
        (True, {"coinbase": TOO_BAD})
    ]
    assert rows(two, "select failures -> 0 ->> 'rule', failures -> 0 ->> 'observed' from ops.loads") == [
        ("bad_rows_are_few", "coinbase: 0.4")
    ]
    assert f"coinbase was set aside: {TOO_BAD}" in page.read_text()


def test_a_source_that_brought_3_of_15_coins_is_set_aside_with_all_it_sent(two: Settings) -> None:
    trade = event("trade", "BTC-USD", {"price": "9", "size": "1"}, at=NOON, source="coinbase", vendor_id="1")
    put(two, *all_coins(coingecko), *map(coinbase, COINS[:3]), trade)
    assert audit(two, now=NOON) == AuditReport(accepted=1, inserted=15, quarantined=4)
    assert rows(two, REASONS) == [("coinbase", f"set aside: {TOO_FEW}", 4)]


def test_a_source_that_breaks_both_rules_says_both(two: Settings) -> None:
    put(two, *all_coins(coingecko), *(coinbase(symbol, -1) for symbol in COINS[:3]))
    audit(two, now=NOON)
    ((said,),) = rows(two, "select detail -> 'set_aside' ->> 'coinbase' from ops.outcomes where step = 'audit_load'")
    assert said.split(" | ") == [TOO_BAD.replace("0.4", "1.0"), TOO_FEW]


def test_as_many_bad_rows_of_each_source_as_are_allowed_do_no_harm(two: Settings) -> None:
    put(two, *all_coins(coinbase, bad=3), *all_coins(coingecko, bad=3))
    assert audit(two, now=NOON) == AuditReport(accepted=1, inserted=24, quarantined=6)
    assert rows(two, "select count(*) from marts.alerts") == [(0,)]


def test_the_bad_rows_of_a_large_source_do_not_reject_a_small_one(two: Settings) -> None:
    large = [coinbase(symbol, -1, vendor_id=str(n)) for symbol in COINS for n in range(10)]
    put(two, *large, *all_coins(coingecko))
    assert audit(two, now=NOON) == AuditReport(accepted=1, inserted=15, quarantined=150)


# --- what rejects a load of several sources --------------------------------------------------------------------------


def test_a_load_whose_sources_are_all_bad_is_rejected(two: Settings) -> None:
    put(two, *all_coins(coinbase, bad=6), *map(coingecko, COINS[:3]))
    with pytest.raises(LoadRejectedError) as caught:
        audit(two, now=NOON)
    said = str(caught.value)
    assert "bad_rows_are_few [expect_column_values_to_be_between(bad_share)]: coinbase: 0.4;" in said
    assert "known_symbols_are_present [expect_column_values_to_be_between(symbol_share)]: coingecko: 0.2;" in said
    assert rows(two, "select rule from marts.alerts") == [("load_rejected",)]
    assert rows(two, "select (select count(*) from raw.landed_events), (select count(*) from raw.rejected_events)") == [
        (18, 0)
    ]


def test_a_load_that_lacks_rows_is_rejected_though_one_source_is_fine(two: Settings) -> None:
    put(two, *all_coins(coinbase, bad=6), *all_coins(coingecko), read_count=31)
    with pytest.raises(LoadRejectedError, match=r"no_row_is_missing \["):
        audit(two, now=NOON)
    assert came_in(two) == {}


def test_lines_that_name_no_source_count_for_the_whole(two: Settings) -> None:
    load = put(two, *all_coins(coinbase), *all_coins(coingecko), malformed=10)
    with pytest.raises(LoadRejectedError, match=rf"bad_rows_are_few \[.+: load {load}: 0.25;"):
        audit(two, now=NOON)


def test_malformed_lines_that_name_their_source_count_for_that_one(two: Settings) -> None:
    put(two, *all_coins(coinbase), *all_coins(coingecko), malformed=10)
    with connect(two) as conn:
        conn.execute("update raw.rejected_events set source = 'coinbase'")
    assert audit(two, now=NOON) == AuditReport(accepted=1, inserted=15, quarantined=25)
    assert came_in(two) == {"coingecko": 15}


def test_by_hand_the_rows_of_every_source_come_in(two: Settings) -> None:
    load = put(two, *all_coins(coinbase, bad=6), *map(coingecko, COINS[:3]))
    with pytest.raises(LoadRejectedError):
        audit(two, now=NOON)
    with connect(two) as conn:
        conn.execute("update ops.loads set audited_at = %s", [NOON])
    relaxed = two.model_copy(update={"audit_min_symbol_share": 0.0})  # CoinGecko would be fine now
    assert accept_rejected(relaxed, load) == AuditReport(accepted=1, inserted=12, quarantined=6)
    assert came_in(two) == {"coinbase": 9, "coingecko": 3}


# --- neighbours, watermarks ------------------------------------------------------------------------------------------


def test_what_was_set_aside_of_a_pull_still_counts_for_the_rest_of_it(two: Settings) -> None:
    put(two, *(coinbase(symbol, -1 if symbol == "BTC-USD" else 9) for symbol in COINS[:4]), *all_coins(coingecko)[:8])
    put(two, *map(coinbase, COINS[4:10]), *all_coins(coingecko)[8:])  # 6 of 15 alone, 9 with 3 that were set aside
    assert audit(two, now=NOON) == AuditReport(accepted=2, inserted=21, quarantined=4)
    assert came_in(two) == {"coinbase": 6, "coingecko": 15}


def test_the_watermark_of_a_source_that_was_set_aside_stays(two: Settings) -> None:
    until = {"coinbase": NOON + MINUTE, "coingecko": NOON + MINUTE}
    put(two, *all_coins(coinbase, bad=6), *all_coins(coingecko), complete_until=until)
    audit(two, now=NOON)
    assert rows(two, WATERMARKS) == [("coingecko", NOON + MINUTE)]
    put(two, *all_coins(coinbase), complete_until={"coinbase": NOON + 2 * MINUTE})
    audit(two, now=NOON)
    assert rows(two, WATERMARKS) == [("coinbase", NOON + 2 * MINUTE), ("coingecko", NOON + MINUTE)]


@pytest.mark.parametrize("marked", [["coinbase", "coingecko"], ["coinbase"]])
def test_what_a_load_of_the_stream_says_of_it_is_dropped(two: Settings, marked: list[str]) -> None:
    until = dict.fromkeys(marked, NOON + MINUTE)
    load = put(two, *all_coins(coinbase, bad=6), *all_coins(coingecko), complete_until=until)
    with connect(two) as conn:
        conn.execute(
            "insert into ops.pending_watermarks select %s, source, %s, 'events', %s, 'shard-0', %s "
            "from unnest(%s::text[]) as said (source)",
            [load, NOON + MINUTE, NOON, NOON, marked],
        )
    audit(two, now=NOON)
    assert rows(two, WATERMARKS) == [("coingecko", NOON + MINUTE)] * ("coingecko" in marked)
    assert rows(two, "select count(*) from ops.pending_watermarks") == [(0,)]


# --- for any mixture -------------------------------------------------------------------------------------------------

MIXED = st.lists(
    st.builds(
        lambda one, symbol, price: one(symbol, price),
        one=st.sampled_from([coinbase, coingecko]),
        symbol=st.sampled_from(COINS),
        price=st.sampled_from([9, 9, 9, -1]),
    ),
    min_size=1,
    max_size=12,
)


@hypothesis_settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mixed=MIXED)
def test_every_row_is_accounted_for_and_a_source_is_in_or_out(two: Settings, mixed: list[Event]) -> None:
    settings = two.model_copy(update={"audit_min_symbol_share": 0.0, "audit_max_bad_share": 0.4})
    by_source: dict[str, list[bool]] = {}
    for one in mixed:
        by_source.setdefault(one.source, []).append(-1 not in one.payload.values())
    fine = {source for source, good in by_source.items() if good.count(False) <= 0.4 * len(good)}
    with connect(settings) as conn:
        conn.execute("truncate raw.market_events, raw.landed_events, raw.rejected_events, ops.loads, ops.outcomes")
        add_load(conn, mixed)
        if not fine:
            with pytest.raises(LoadRejectedError):
                audit(settings, now=NOON)
            assert conn.execute("select count(*) from raw.landed_events").fetchone() == (len(mixed),)
            return
        report = audit(settings, now=NOON)
        assert report.inserted + report.duplicates + report.quarantined == len(mixed)
        assert report.inserted + report.duplicates == sum(sum(by_source[source]) for source in fine)
        assert set(came_in(settings)) == fine
        aside = {
            source for (source,) in conn.execute("select source from raw.rejected_events where reason ~ 'set aside'")
        }
        assert aside == set(by_source) - fine
