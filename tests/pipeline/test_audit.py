"""The audit step: good rows in, bad rows to quarantine, bad loads out, with exact counts; safe to run twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.errors import BalanceError, LeaseHeldError, LedgerError, LoadRejectedError
from include.instruments import load_instruments, register
from include.pipeline.audit import AuditReport, accept_rejected, audit
from include.quality.audit import preload
from include.settings import Settings
from include.warehouse.db import connect
from include.warehouse.leases import lease
from include.warehouse.ledger import loads
from tests import processes
from tests.landing import add_load, event, quote

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def any_share(marts_settings: Settings) -> Settings:
    """Settings under which a load may hold few symbols and many bad rows: what is looked at here are its rows."""
    return marts_settings.model_copy(update={"audit_min_symbol_share": 0.0, "audit_max_bad_share": 0.9})


def all_symbols(settings: Settings) -> list[str]:
    return [instrument.symbol for instrument in load_instruments(settings.instruments_file)]


def rows(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    with connect(settings) as conn:
        return conn.execute(query).fetchall()


def put(settings: Settings, *events: Any, **more: Any) -> int:
    with connect(settings) as conn:
        return add_load(conn, events, **more)


def test_five_quotes_come_in_and_three_of_them_are_quarantined(any_share: Settings) -> None:
    load = put(
        any_share,
        quote("AAPL", 190.5, at=NOON, bid=190.4, ask=190.6),
        quote("AAPL", -1, at=NOON),
        quote("BTC-USD", "sixty thousand", at=NOON),
        quote("GHOST", 1, at=NOON),
        quote("BTC-USD", 60000, at=NOON),
        origin="raw/five.jsonl.gz",
    )

    assert audit(any_share, now=NOON) == AuditReport(accepted=1, inserted=2, quarantined=3)

    assert rows(any_share, "select symbol, payload ->> 'price', load_id from raw.market_events order by 1") == [
        ("AAPL", "190.5", load), ("BTC-USD", "60000", load),
    ]  # fmt: skip
    found = rows(any_share, "select origin, line_number, symbol, reason from raw.rejected_events order by 2")
    assert found == [
        ("raw/five.jsonl.gz", 2, "AAPL", "price_is_positive: expect_column_values_to_be_between(price) found -1; "
            "the price must be above 0 and finite"),
        ("raw/five.jsonl.gz", 3, "BTC-USD", "price_is_a_number: expect_column_values_to_not_be_null(price) found "
            "nothing; the price must be there and be a finite number"),
        ("raw/five.jsonl.gz", 4, "GHOST", "symbol_is_known: expect_column_values_to_not_be_null(instrument) found "
            "'GHOST'; the symbol is not among the instruments"),
    ]  # fmt: skip
    assert rows(any_share, "select read_count, inserted_count, duplicate_count, quarantined_count from ops.loads") == [
        (5, 2, 0, 3)
    ]


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        (quote("AAPL", 1, at=NOON, bid=2, ask=1), "ask_is_not_below_bid"),
        (quote("AAPL", 1, at=NOON + timedelta(seconds=61)), "event_time_is_not_in_the_future"),
        (quote("BTC-USD", 1, at=NOON - timedelta(hours=24, seconds=1)), "live_event_is_not_too_old"),
        (quote("AAPL", True, at=NOON), "price_is_a_number"),
        (quote("AAPL", "NaN", at=NOON), "price_is_a_number"),
        (quote("AAPL", "1e400", at=NOON), "price_is_a_number"),
        (quote("AAPL'; drop table raw.market_events; --", 1, at=NOON), "symbol_is_known"),
        (quote("AAPL", 1, at=NOON, source="unheard-of"), "source_is_modelled"),
        (event("trade", "AAPL", {"price": 1}, at=NOON, source="replay"), "size_is_a_number"),
        (event("bar", "AAPL", {"resolution": "1m", "open": 1, "high": 1, "low": 2, "close": 1}, at=NOON,
               source="replay"), "high_is_not_below_low"),
    ],
)  # fmt: skip
def test_a_bad_row_is_quarantined_with_the_rule_it_breaks(any_share: Settings, bad: Any, rule: str) -> None:
    put(any_share, quote("AAPL", 190, at=NOON), bad)
    assert audit(any_share, now=NOON) == AuditReport(accepted=1, inserted=1, quarantined=1)
    assert rule in rows(any_share, "select reason from raw.rejected_events")[0][0]


def test_what_is_replayed_from_a_file_may_be_old_and_few(marts_settings: Settings) -> None:
    old = datetime(2013, 10, 7, tzinfo=UTC)
    put(
        marts_settings,
        quote("AAPL", 1, at=old, source="replay"),
        event("trade", "AAPL", {"price": 1, "size": 0}, at=old, source="replay", vendor_id="1"),
        event("bar", "AAPL", {"resolution": "1m", "open": 2, "high": 3, "low": 1, "close": 2}, at=old, source="replay"),
    )
    assert audit(marts_settings, now=NOON) == AuditReport(accepted=1, inserted=3)


def test_what_is_not_live_may_be_old_and_few(marts_settings: Settings) -> None:
    old = put(marts_settings, quote("AAPL", 1, at=datetime(2013, 10, 7, tzinfo=UTC)), is_live=False)
    assert audit(marts_settings, loads=[old], now=NOON) == AuditReport(accepted=1, inserted=1)


def test_repeats_are_dropped_and_counted_and_are_no_fault(any_share: Settings) -> None:
    put(any_share, *[quote("AAPL", 190, at=NOON)] * 4)
    put(any_share, quote("AAPL", 190, at=NOON), quote("AAPL", 191, at=NOON))
    assert audit(any_share, now=NOON) == AuditReport(accepted=2, inserted=2, duplicates=4)
    told = rows(any_share, "select detail -> 'failed' from ops.outcomes where step = 'audit_load' order by at")
    assert told == [(["repeats_are_few"],), ([],)]


# --- loads that are rejected ---------------------------------------------------------------------------------------


def test_a_load_with_too_many_bad_rows_is_rejected_and_the_others_are_accepted(marts_settings: Settings) -> None:
    symbols = all_symbols(marts_settings)
    good = put(marts_settings, *(quote(symbol, 10, at=NOON) for symbol in symbols))
    bad = put(
        marts_settings,
        *(quote(symbol, 10 if number < 15 else -10, at=NOON) for number, symbol in enumerate(symbols)),
        origin="raw/bad.jsonl.gz",
    )
    late = put(marts_settings, *(quote(symbol, 11, at=NOON) for symbol in symbols))

    with pytest.raises(LoadRejectedError) as caught:
        audit(marts_settings, now=NOON)

    page = marts_settings.home / "data_docs" / "loads" / f"{bad}.html"
    assert str(caught.value).splitlines() == [
        f"load {bad} was rejected, its 25 rows from raw/bad.jsonl.gz stay out:",
        f"  bad_rows_are_few [expect_column_values_to_be_between(bad_share)]: load {bad}: 0.4; "
        "too many of the rows are bad (audit_max_bad_share)",
        "  price_is_positive [expect_column_values_to_be_between(price)]: 10 rows: -10; "
        "the price must be above 0 and finite",
        f"Data docs: {page} (in the Airflow UI: Browse, Data docs). `quantstream loads show {bad}` shows it, "
        f"`quantstream loads accept {bad}` brings it in (its bad rows still go to quarantine).",
    ]
    assert page.exists()
    with connect(marts_settings) as conn:
        assert {one.load_id: one.state for one in loads(conn)} == {good: "accepted", bad: "rejected", late: "accepted"}
        (failures,) = [one.failures for one in loads(conn, "rejected")]
    assert [(one["rule"], one["level"], one["rows"]) for one in failures] == [
        ("bad_rows_are_few", "batch", 0), ("price_is_positive", "row", 10),
    ]  # fmt: skip
    assert rows(marts_settings, f"select count(*) from raw.landed_events where load_id = {bad}") == [(25,)]
    assert rows(marts_settings, "select count(*) from raw.rejected_events") == [(0,)]


def test_a_rejection_raises_one_operations_alert(marts_settings: Settings) -> None:
    put(marts_settings, quote("AAPL", -1, at=NOON), origin="raw/bad.jsonl.gz")
    with pytest.raises(LoadRejectedError):
        audit(marts_settings, now=NOON)
    ((rule, category, severity, value, message),) = rows(
        marts_settings, "select rule, category, severity, value, message from marts.alerts"
    )
    assert (rule, category, severity, value) == ("load_rejected", "operations", "critical", 1.0)
    assert "raw/bad.jsonl.gz" in message
    assert rows(marts_settings, "select count(*) from ops.outbox where sent_at is null") == [(1,)]
    assert audit(marts_settings, now=NOON) == AuditReport()


@pytest.mark.parametrize(
    ("events", "more", "rule"),
    [
        ([], {}, "load_is_not_empty"),
        ([quote("AAPL", 1, at=NOON)], {"read_count": 3}, "no_row_is_missing"),
        ([quote("AAPL", 1, at=NOON)], {"malformed": 1}, "bad_rows_are_few"),
        ([quote("AAPL", 1, at=NOON)], {}, "known_symbols_are_present"),
    ],
)
def test_each_rule_on_the_batch_rejects(
    marts_settings: Settings, events: list[Any], more: dict[str, Any], rule: str
) -> None:
    put(marts_settings, *events, **more)
    with pytest.raises(LoadRejectedError, match=rf"\n  {rule} \["):
        audit(marts_settings, now=NOON)


def test_a_row_that_staging_cannot_compute_rejects_its_load_only(any_share: Settings) -> None:
    with connect(any_share, role="owner") as conn:  # a normalisation error, as somebody may make it
        conn.execute(
            "create or replace function ops.to_number(value text) returns numeric immutable language sql "
            "as 'select value::numeric'"
        )
    bad = put(any_share, quote("AAPL", "n/a", at=NOON))
    put(any_share, quote("AAPL", 1, at=NOON))
    with pytest.raises(LoadRejectedError, match=r'staging cannot compute a row of it: invalid input .+ "n/a"'):
        audit(any_share, now=NOON)
    assert rows(any_share, "select state from ops.loads order by load_id") == [("rejected",), ("accepted",)]
    with pytest.raises(LedgerError, match=f"load {bad} .+ cannot be brought in: staging cannot compute"):
        accept_rejected(any_share, bad)


def test_a_pull_spread_over_two_shards_is_seen_whole(marts_settings: Settings) -> None:
    symbols = all_symbols(marts_settings)
    for part in (symbols[:8], symbols[8:16], symbols[16:]):
        put(marts_settings, *(quote(symbol, 10, at=NOON) for symbol in part))
    assert audit(marts_settings, now=NOON).accepted == 3


def test_the_pull_of_the_minute_before_does_not_stand_in_for_this_one(marts_settings: Settings) -> None:
    later = NOON + timedelta(minutes=1)
    put(marts_settings, *(quote(symbol, 10, at=NOON) for symbol in all_symbols(marts_settings)))
    put(marts_settings, quote("AAPL", 10, at=later))
    with pytest.raises(LoadRejectedError, match=r"known_symbols_are_present \[.+: simulator: 0.1; the pull brought"):
        audit(marts_settings, now=later)
    assert rows(marts_settings, "select state from ops.loads order by load_id") == [("accepted",), ("rejected",)]


# --- accepted by hand -----------------------------------------------------------------------------------------------


def test_a_rejected_load_is_brought_in_by_hand_without_its_bad_rows(marts_settings: Settings) -> None:
    load = put(marts_settings, quote("AAPL", 190, at=NOON), quote("AAPL", -1, at=NOON), quote("NEW", 5, at=NOON))
    with pytest.raises(LoadRejectedError):
        audit(marts_settings, now=NOON)
    with connect(marts_settings) as conn:
        register(conn, ["NEW"], "equity")  # the operator has understood why
        conn.execute("update ops.loads set audited_at = %s", [NOON])

    assert accept_rejected(marts_settings, load) == AuditReport(accepted=1, inserted=2, quarantined=1)

    assert rows(marts_settings, "select symbol from raw.market_events order by 1") == [("AAPL",), ("NEW",)]
    assert rows(marts_settings, "select line_number from raw.rejected_events") == [(2,)]
    with pytest.raises(LedgerError, match=f"load {load} is accepted; only a rejected load is accepted by hand"):
        accept_rejected(marts_settings, load)
    with pytest.raises(LedgerError, match="there is no load 4711"):
        accept_rejected(marts_settings, 4711)


# --- twice, and killed ----------------------------------------------------------------------------------------------


def test_the_same_audit_twice_at_once_is_refused_once(any_share: Settings) -> None:
    put(any_share, quote("AAPL", 190, at=NOON))
    with connect(any_share) as conn, lease(conn, "audit", seconds=60):
        with pytest.raises(LeaseHeldError, match="the step audit runs already"):
            audit(any_share, now=NOON)
        with pytest.raises(LeaseHeldError):
            accept_rejected(any_share, 1)
    assert audit(any_share, now=NOON) == AuditReport(accepted=1, inserted=1)
    assert audit(any_share, now=NOON) == AuditReport()


def test_a_load_that_does_not_balance_is_left_and_the_others_are_accepted(
    any_share: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(any_share, quote("AAPL", 190, at=NOON), read_count=2)
    put(any_share, quote("AAPL", 191, at=NOON))
    monkeypatch.setattr("include.quality.audit.Verdict.is_rejected", property(lambda verdict: False))
    with pytest.raises(BalanceError, match=r"load 1 .+ read 2, but inserted 1 \+ duplicate 0 \+ quarantined 0 = 1"):
        audit(any_share, now=NOON)
    assert rows(any_share, "select state from ops.loads order by load_id") == [("landed",), ("accepted",)]


@pytest.mark.parametrize("point", ["before_audit_commit", "after_audit_commit"])
@pytest.mark.parametrize("price", [10, -10], ids=["accepted", "rejected"])
def test_killed_at_its_commit_it_repeats_safely(any_share: Settings, point: str, price: int) -> None:
    put(any_share, quote("AAPL", price, at=NOON), quote("AAPL", 11, at=NOON))
    strict = any_share.model_copy(update={"audit_max_bad_share": 0.4})
    preload()  # once here, and not in each child
    assert processes.run(lambda: audit(strict, now=NOON), {"QUANTSTREAM_CRASH_AT": point}).killed
    try:
        audit(strict, now=NOON)
    except LoadRejectedError:
        assert point == "before_audit_commit"
    state = "accepted" if price > 0 else "rejected"
    assert rows(strict, "select state from ops.loads") == [(state,)]
    assert rows(strict, "select count(*) from marts.alerts") == [(int(price < 0),)]
    assert rows(strict, "select count(*) from raw.market_events") == [(2 if price > 0 else 0,)]


def test_an_outcome_is_written_per_run_and_per_load(any_share: Settings) -> None:
    load = put(any_share, quote("AAPL", 190, at=NOON), quote("AAPL", -1, at=NOON))
    audit(any_share, run_id="a run", now=NOON)
    (one, run) = rows(any_share, "select step, ok, row_count, run_id, detail from ops.outcomes order by outcome_id")
    assert one[:4] == ("audit_load", True, 1, "a run")
    assert (one[4]["load_id"], one[4]["quarantined"], one[4]["failed"]) == (load, 1, ["price_is_positive"])
    assert run[:4] == ("audit", True, 1, "a run")


def test_without_the_views_it_says_what_to_do(settings: Settings) -> None:
    put(settings, quote("AAPL", 190, at=NOON))
    with pytest.raises(Exception, match=r"the staging views are missing .+ `quantstream up` builds them"):
        audit(settings, now=NOON)
