"""Loads become accepted or rejected: exact counts, one transaction, the latest delivery of a row wins."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from include.errors import BalanceError, FencedError, LedgerError
from include.settings import Settings
from include.warehouse import ledger
from include.warehouse.db import connect
from include.warehouse.leases import Lease, lease
from include.warehouse.ledger import Accepted, BadRow, accept, landed_loads, loads, reject
from tests.landing import add_load, quote

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def conn(settings: Settings) -> Iterator[psycopg.Connection]:
    with connect(settings) as connection:
        yield connection


@pytest.fixture
def held(conn: psycopg.Connection) -> Iterator[Lease]:
    with lease(conn, "audit", seconds=60) as one:
        yield one


def market(conn: psycopg.Connection) -> list[tuple[object, ...]]:
    return conn.execute(
        "select symbol, payload ->> 'price', received_at, load_id from raw.market_events order by 1, 2"
    ).fetchall()


def test_an_accepted_load_is_in_the_market_events_and_no_longer_landed(conn: psycopg.Connection, held: Lease) -> None:
    load = add_load(conn, [quote("AAPL", 190, at=NOON), quote("BTC-USD", 60000, at=NOON)])

    assert accept(conn, held, load) == Accepted(inserted=2, duplicates=0, quarantined=0)

    assert market(conn) == [("AAPL", "190", NOON, load), ("BTC-USD", "60000", NOON, load)]
    assert conn.execute("select count(*) from raw.landed_events").fetchone() == (0,)
    assert conn.execute("select state, audited_at is not null from ops.loads").fetchone() == ("accepted", True)


def test_a_bad_row_is_in_quarantine_as_an_event_that_could_be_sent_again(conn: psycopg.Connection, held: Lease) -> None:
    load = add_load(conn, [quote("AAPL", 190, at=NOON), quote("AAPL", -1, at=NOON)], origin="raw/a.jsonl.gz")

    assert accept(conn, held, load, [BadRow(2, "price: -1")]) == Accepted(1, 0, 1)

    (row,) = conn.execute(
        "select load_id, origin, line_number, source, kind, symbol, event_time, reason, raw from raw.rejected_events"
    ).fetchall()
    assert row[:-1] == (load, "raw/a.jsonl.gz", 2, "simulator", "quote", "AAPL", NOON, "price: -1")
    assert json.loads(bytes(row[-1])) == {
        "source": "simulator", "kind": "quote", "symbol": "AAPL", "event_time": "2026-03-02T12:00:00.000000Z",
        "vendor_id": "", "received_at": "2026-03-02T12:00:00.000000Z", "payload": {"price": -1},
    }  # fmt: skip
    assert market(conn) == [("AAPL", "190", NOON, load)]


def test_lines_that_were_malformed_when_loaded_count_as_quarantined(conn: psycopg.Connection, held: Lease) -> None:
    load = add_load(conn, [quote("AAPL", 190, at=NOON)], malformed=3)
    assert accept(conn, held, load) == Accepted(inserted=1, duplicates=0, quarantined=3)


def test_a_repeat_inside_a_load_and_across_loads_keeps_one_row_with_the_latest_delivery(
    conn: psycopg.Connection, held: Lease
) -> None:
    later = NOON + timedelta(seconds=5)
    first = add_load(conn, [quote("AAPL", 190, at=NOON), quote("AAPL", 190, at=NOON)])
    older = add_load(conn, [quote("AAPL", 190, at=NOON, received_at=NOON - timedelta(seconds=5))])
    newer = add_load(conn, [quote("AAPL", 190, at=NOON, received_at=later)])

    assert accept(conn, held, first) == Accepted(inserted=1, duplicates=1, quarantined=0)
    assert accept(conn, held, older) == Accepted(inserted=0, duplicates=1, quarantined=0)
    assert market(conn) == [("AAPL", "190", NOON, first)]
    assert accept(conn, held, newer) == Accepted(inserted=0, duplicates=1, quarantined=0)
    assert market(conn) == [("AAPL", "190", later, newer)]


def test_a_row_that_somebody_brings_in_the_meantime_is_a_repeat(
    conn: psycopg.Connection, held: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = NOON + timedelta(seconds=5)
    first = add_load(conn, [quote("AAPL", 190, at=NOON)])
    again = add_load(conn, [quote("AAPL", 189, at=NOON), quote("AAPL", 190, at=NOON, received_at=later)])
    accept(conn, held, first)
    monkeypatch.setattr(ledger, "_OVERLAPS", "select %(load_id)s < 0")  # when it looked, there was nothing
    assert accept(conn, held, again) == Accepted(inserted=1, duplicates=1, quarantined=0)
    assert market(conn) == [("AAPL", "189", NOON, again), ("AAPL", "190", later, again)]


def test_history_says_at_once_until_when_a_source_is_complete(conn: psycopg.Connection, held: Lease) -> None:
    until = {"binance": NOON, "kraken": NOON + timedelta(minutes=1)}
    accept(conn, held, add_load(conn, [quote("AAPL", 190, at=NOON)], is_live=False, complete_until=until))
    assert dict(conn.execute("select source, complete_until from ops.watermarks").fetchall()) == until


def test_a_revision_is_a_further_row(conn: psycopg.Connection, held: Lease) -> None:
    load = add_load(conn, [quote("AAPL", 190, at=NOON), quote("AAPL", 191, at=NOON)])
    assert accept(conn, held, load) == Accepted(inserted=2, duplicates=0, quarantined=0)


def test_watermarks_move_with_acceptance_and_never_back(conn: psycopg.Connection, held: Lease) -> None:
    def watermark() -> list[tuple[object, ...]]:
        return conn.execute("select source, complete_until from ops.watermarks").fetchall()

    minute = timedelta(minutes=1)
    new = add_load(conn, [quote("AAPL", 190, at=NOON)], complete_until={"simulator": NOON + minute})
    old = add_load(conn, [quote("AAPL", 189, at=NOON - minute)], complete_until={"simulator": NOON})
    assert watermark() == []
    accept(conn, held, new)
    accept(conn, held, old)
    assert watermark() == [("simulator", NOON + minute)]


def test_a_load_that_does_not_balance_is_rolled_back_and_the_numbers_are_named(
    conn: psycopg.Connection, held: Lease
) -> None:
    load = add_load(conn, [quote("AAPL", 190, at=NOON)], read_count=7, origin="raw/a.jsonl.gz")
    with pytest.raises(
        BalanceError,
        match=r"\(raw/a.jsonl.gz\) does not balance: read 7, but inserted 1 \+ duplicate 0 \+ quarantined 0 = 1; .+",
    ):
        accept(conn, held, load)
    assert market(conn) == []
    assert [one.load_id for one in landed_loads(conn)] == [load]


def test_a_quarantine_line_that_is_not_there_does_not_balance(conn: psycopg.Connection, held: Lease) -> None:
    load = add_load(conn, [quote("AAPL", 190, at=NOON)])
    with pytest.raises(BalanceError, match=r"read 1, but inserted 1 \+ duplicate 0 \+ quarantined 1 = 2"):
        accept(conn, held, load, [BadRow(99, "no such line")])


def test_a_rejected_load_keeps_its_rows_and_says_why(conn: psycopg.Connection, held: Lease) -> None:
    load = add_load(conn, [quote("AAPL", 190, at=NOON)], complete_until={"simulator": NOON})
    reject(conn, held, load, [{"rule": "bad_share", "observed": 0.5}])

    (rejected,) = loads(conn, "rejected")
    assert (rejected.load_id, rejected.failures) == (load, [{"rule": "bad_share", "observed": 0.5}])
    assert (rejected.inserted_count, rejected.duplicate_count) == (None, None)
    assert conn.execute("select count(*) from raw.landed_events").fetchone() == (1,)
    assert conn.execute("select count(*) from ops.watermarks").fetchone() == (0,)


def test_a_load_changes_only_from_the_state_it_must_be_in(conn: psycopg.Connection, held: Lease) -> None:
    load = add_load(conn, [quote("AAPL", 190, at=NOON)])
    reject(conn, held, load, [])
    with pytest.raises(LedgerError, match=rf"load {load} .+ is rejected, not landed; nothing was changed"):
        accept(conn, held, load)
    assert accept(conn, held, load, was="rejected") == Accepted(1, 0, 0)
    with pytest.raises(LedgerError, match="is accepted, not landed"):
        reject(conn, held, load, [])
    with pytest.raises(LedgerError, match="there is no load 4711"):
        accept(conn, held, 4711)


def test_a_zombie_changes_nothing(conn: psycopg.Connection, held: Lease) -> None:
    load = add_load(conn, [quote("AAPL", 190, at=NOON)])
    conn.execute("update ops.leases set epoch = epoch + 1")  # another process has taken the step over
    with pytest.raises(FencedError):
        accept(conn, held, load)
    with pytest.raises(FencedError):
        reject(conn, held, load, [])
    assert [one.state for one in loads(conn)] == ["landed"]


def test_only_live_loads_wait_for_the_live_audit(conn: psycopg.Connection) -> None:
    add_load(conn, [quote("AAPL", 1, at=NOON)], is_live=False)
    live = add_load(conn, [quote("AAPL", 2, at=NOON)])
    assert [one.load_id for one in landed_loads(conn)] == [live]


def test_loads_are_listed_oldest_first_and_a_limit_keeps_the_newest(conn: psycopg.Connection) -> None:
    made = [add_load(conn, [quote("AAPL", n, at=NOON)]) for n in (1, 2, 3)]
    assert [one.load_id for one in loads(conn)] == made
    assert [one.load_id for one in loads(conn, limit=2)] == made[1:]
    assert loads(conn, "accepted") == []


def test_a_source_that_is_set_aside_keeps_its_watermark_and_the_load_keeps_why(
    conn: psycopg.Connection, held: Lease
) -> None:
    sent = [quote("BTC-USD", 9, at=NOON, source="coinbase"), quote("BTC-USD", 9, at=NOON, source="coingecko")]
    load = add_load(conn, sent, complete_until={"coinbase": NOON, "coingecko": NOON})
    failures = [{"rule": "bad_rows_are_few"}]

    accepted = accept(conn, held, load, [BadRow(1, "set aside: ...")], set_aside=["coinbase"], failures=failures)

    assert accepted == Accepted(inserted=1, duplicates=0, quarantined=1)
    assert conn.execute("select source, complete_until from ops.watermarks").fetchall() == [("coingecko", NOON)]
    assert [(one.state, one.failures) for one in loads(conn)] == [("accepted", failures)]
