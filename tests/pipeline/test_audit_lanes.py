"""Two lanes: history is loaded and audited by whoever brings it, beside the live lane and many at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from include.aws import client
from include.errors import BalanceError, LakeError, LeaseHeldError, LedgerError, LoadRejectedError
from include.events import Event
from include.lake import raw
from include.pipeline.audit import AuditReport, accept_rejected, audit
from include.pipeline.load import LoadReport, load, load_object
from include.quality.audit import preload
from include.settings import Settings
from include.warehouse.db import connect
from include.warehouse.leases import lease
from tests import processes
from tests.landing import add_load, quote
from tests.pipeline.test_load import landed

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def lenient(marts_settings: Settings) -> Settings:
    return marts_settings.model_copy(update={"audit_min_symbol_share": 0.0, "audit_max_bad_share": 0.9})


def rows(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    with connect(settings) as conn:
        return conn.execute(query).fetchall()  # type: ignore[arg-type]


def states(settings: Settings) -> dict[int, str]:
    return dict(rows(settings, "select load_id, state from ops.loads"))


def history(settings: Settings, *events: Event, **more: Any) -> int:
    """A landed load of history."""
    with connect(settings) as conn:
        return add_load(conn, events, is_live=False, **more)


def live(settings: Settings, *events: Event, **more: Any) -> int:
    with connect(settings) as conn:
        return add_load(conn, events, **more)


def quotes(count: int, *, first: int = 0, days_ago: int = 900, received: int = 0) -> list[Event]:
    """Quotes, a minute apart; equal numbers are equal rows, received so many seconds after noon."""
    at = NOON - timedelta(days=days_ago)
    return [
        quote("BTC-USD", 10 + n, at=at + n * MINUTE, received_at=NOON + timedelta(seconds=received))
        for n in range(first, first + count)
    ]


def in_the_lake(settings: Settings, key: str, events: Iterable[Event]) -> str:
    """A raw object of history: its lines carry no number and no arrival."""
    body = raw.encode([event.to_json() + b"\n" for event in events])
    return raw.put_once(client(settings, "s3"), settings.bucket, key, body).sha256


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Run the calls in threads that start together; what each returned or raised."""
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        start.wait()
        try:
            return call()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


# --- who takes what -------------------------------------------------------------------------------------------------


def test_the_live_audit_leaves_history_alone_and_history_the_live_loads(lenient: Settings) -> None:
    old = history(lenient, *quotes(2))
    new = live(lenient, quote("AAPL", 190, at=NOON))

    assert audit(lenient, loads=[old, new], now=NOON) == AuditReport(accepted=1, inserted=2)
    assert states(lenient) == {old: "accepted", new: "landed"}
    other = history(lenient, *quotes(1, first=9))
    assert audit(lenient, now=NOON) == AuditReport(accepted=1, inserted=1)
    assert states(lenient) == {old: "accepted", new: "accepted", other: "landed"}


def test_exactly_the_named_loads_are_audited_and_those_that_are_done_are_left(lenient: Settings) -> None:
    first, second, third = (history(lenient, *quotes(1, first=n)) for n in range(3))
    assert audit(lenient, loads=[second], now=NOON).accepted == 1
    assert audit(lenient, loads=[third, second, third], now=NOON).accepted == 1
    assert audit(lenient, loads=[], now=NOON) == AuditReport()
    assert states(lenient) == {first: "landed", second: "accepted", third: "accepted"}
    with pytest.raises(LedgerError, match="there is no load 4711"):
        audit(lenient, loads=[4711])


def test_a_rejected_load_of_history_raises_at_the_end_and_is_brought_in_by_hand(lenient: Settings) -> None:
    strict = lenient.model_copy(update={"audit_max_bad_share": 0.4})
    wrong = [quote("BTC-USD", -1, at=NOON + n * MINUTE) for n in range(11)]
    bad = history(strict, *quotes(1), *wrong, origin="history-bad")
    good = history(strict, *quotes(1, first=5))

    with pytest.raises(LoadRejectedError, match=f"load {bad} was rejected, its 12 rows from history-bad stay out"):
        audit(strict, loads=[bad, good], now=NOON)

    assert states(strict) == {bad: "rejected", good: "accepted"}
    with connect(strict) as conn, lease(conn, "audit", seconds=60):  # the live audit runs
        assert accept_rejected(strict, bad) == AuditReport(accepted=1, inserted=1, quarantined=11)
    assert rows(strict, "select origin, min(line_number), count(*) from raw.rejected_events group by 1") == [
        ("history-bad", 2, 11)
    ]


def test_a_source_of_history_that_is_bad_is_set_aside_and_the_other_comes_in(lenient: Settings) -> None:
    good = [quote("BTC-USD", n, at=NOON + n * MINUTE, source="coinbase") for n in range(1, 4)]
    bad = [quote("BTC-USD", -n, at=NOON - n * MINUTE, source="kraken") for n in range(1, 26)]
    one = history(lenient.model_copy(), *good, *bad, complete_until={"coinbase": NOON, "kraken": NOON})

    report = audit(lenient, loads=[one], now=NOON + timedelta(hours=1))

    assert (report.inserted, report.quarantined, report.set_aside) == (3, 25, (f"kraken of load {one}",))
    assert rows(lenient, "select source from ops.watermarks") == [("coinbase",)]


def test_a_load_of_history_that_does_not_balance_is_left_and_the_others_are_accepted(
    lenient: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, good = history(lenient, *quotes(1), read_count=2), history(lenient, *quotes(1, first=5))
    monkeypatch.setattr("include.quality.audit.Verdict.is_rejected", property(lambda verdict: False))
    with pytest.raises(BalanceError, match="read 2, but inserted 1"):
        audit(lenient, loads=[short, good], now=NOON)
    assert states(lenient) == {short: "landed", good: "accepted"}


def test_the_runs_of_history_are_no_runs_of_the_minute(lenient: Settings) -> None:
    in_the_lake(lenient, "raw/a", quotes(1))
    (one,) = load_object(lenient, "raw/a", run_id="r").load_ids
    audit(lenient, loads=[one], run_id="r", now=NOON)
    assert rows(lenient, "select step, row_count, run_id from ops.outcomes order by outcome_id") == [
        ("load_history", 1, "r"), ("audit_load", 1, "r"), ("audit_history", 1, "r"),
    ]  # fmt: skip


# --- one of two is told ---------------------------------------------------------------------------------------------


def test_history_goes_on_while_the_live_steps_run(lenient: Settings) -> None:
    in_the_lake(lenient, "raw/old", quotes(3))
    with (
        connect(lenient) as conn,
        connect(lenient) as other,
        lease(conn, "load", seconds=60),
        lease(other, "audit", seconds=60),
    ):
        report = load_object(lenient, "raw/old")
        assert audit(lenient, loads=report.load_ids, now=NOON) == AuditReport(accepted=1, inserted=3)


def test_the_live_steps_go_on_while_history_is_loaded_and_audited(lenient: Settings) -> None:
    one = history(lenient, *quotes(1))
    landed(lenient, quote("AAPL", 190, at=NOON))
    with (
        connect(lenient) as conn,
        connect(lenient) as other,
        lease(conn, "load raw/old", seconds=60),
        lease(other, f"audit {one}", seconds=60),
    ):
        assert load(lenient).events == 1
        assert audit(lenient, now=NOON) == AuditReport(accepted=1, inserted=1)


def test_an_object_that_another_process_loads_right_now_is_told(lenient: Settings) -> None:
    in_the_lake(lenient, "raw/old", quotes(1))
    with connect(lenient) as conn, lease(conn, "load again", seconds=60):
        with pytest.raises(LeaseHeldError, match="the step load again runs already"):
            load_object(lenient, "raw/old", origin="again")
        assert load_object(lenient, "raw/old").events == 1


def test_a_load_that_another_process_audits_right_now_is_told_and_the_others_are_taken(lenient: Settings) -> None:
    busy, free = history(lenient, *quotes(1)), history(lenient, *quotes(1, first=5))
    with connect(lenient) as conn, lease(conn, f"audit {busy}", seconds=60):
        with pytest.raises(LeaseHeldError, match=f"the step audit {busy} runs already"):
            audit(lenient, loads=[busy, free], now=NOON)
        with pytest.raises(LedgerError, match="only a rejected load"):
            accept_rejected(lenient, free)
    assert states(lenient) == {busy: "landed", free: "accepted"}


def test_of_two_audits_of_a_load_at_once_one_wins(lenient: Settings) -> None:
    one = history(lenient, *quotes(50))

    def again() -> AuditReport:
        return audit(lenient, loads=[one], now=NOON)

    found = at_once(again, again)

    won = [report for report in found if report == AuditReport(accepted=1, inserted=50)]
    told = [report for report in found if report == AuditReport() or isinstance(report, LeaseHeldError)]
    assert (len(won), len(told)) == (1, 1), found
    assert rows(lenient, "select inserted_count, duplicate_count from ops.loads") == [(50, 0)]


def test_two_that_load_an_object_at_once_make_one_load(lenient: Settings) -> None:
    in_the_lake(lenient, "raw/old", quotes(200))
    found = at_once(*[lambda: load_object(lenient, "raw/old")] * 2)
    assert LoadReport(objects=1, events=200) in found
    assert all(one in (LoadReport(objects=1, events=200), LoadReport(known=1)) or isinstance(one, LeaseHeldError)
               for one in found)  # fmt: skip
    assert rows(lenient, "select count(*) from raw.landed_events") == [(200,)]


# --- at once --------------------------------------------------------------------------------------------------------


def test_two_loads_of_history_and_a_live_one_at_once(lenient: Settings) -> None:
    in_the_lake(lenient, "raw/a", quotes(300))
    in_the_lake(lenient, "raw/b", quotes(300, first=300))
    landed(lenient, quote("AAPL", 190, at=NOON))

    def bring(key: str) -> AuditReport:
        return audit(lenient, loads=load_object(lenient, key).load_ids, now=NOON)

    def minute() -> AuditReport:
        load(lenient)
        return audit(lenient, now=NOON)

    assert at_once(lambda: bring("raw/a"), lambda: bring("raw/b"), minute) == [
        AuditReport(accepted=1, inserted=300), AuditReport(accepted=1, inserted=300),
        AuditReport(accepted=1, inserted=1),
    ]  # fmt: skip
    assert rows(lenient, "select count(*) from raw.market_events") == [(601,)]


def test_overlapping_loads_in_any_order_at_once_keep_each_row_once_and_balance(lenient: Settings) -> None:
    sent = [quotes(400, days_ago=1, received=received)[20:] for received in range(4)]
    first, second, third = (
        history(lenient, *events, complete_until=dict.fromkeys(sources, NOON))
        for events, sources in [
            (sent[0], ["a", "simulator"]), (sent[1][::-1], ["simulator", "a"]), (sent[3][1::2] + sent[3][::2], ["a"])
        ]
    )  # fmt: skip
    live(lenient, *sent[2], complete_until={"simulator": NOON, "a": NOON})

    audits: list[Callable[[], Any]] = [
        *(lambda one=one: audit(lenient, loads=[one], now=NOON) for one in (first, second, third)),
        lambda: audit(lenient, now=NOON),
    ]
    found = at_once(*audits)

    assert [type(one) for one in found] == [AuditReport] * 4, found
    assert (sum(one.inserted for one in found), sum(one.duplicates for one in found)) == (380, 3 * 380)
    assert rows(lenient, "select count(*) from raw.market_events") == [(380,)]
    youngest = rows(lenient, "select distinct load_id, received_at from raw.market_events")
    assert youngest == [(third, NOON + timedelta(seconds=3))]
    assert rows(lenient, "select source, complete_until from ops.watermarks order by 1") == [
        ("a", NOON), ("simulator", NOON)
    ]  # fmt: skip


ROWS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([10, 11, -1]), st.integers(0, 3)), min_size=1, max_size=6)


@given(loads=st.lists(ROWS, min_size=2, max_size=4))
@hypothesis_settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_whatever_loads_of_history_come_at_once_they_end_as_if_one_by_one(
    lenient: Settings, loads: list[list[tuple[int, int, int]]]
) -> None:
    settings = lenient.model_copy(update={"audit_max_bad_share": 1.0})

    def run(together: bool) -> list[tuple[Any, ...]]:
        with connect(settings) as conn:
            conn.execute("truncate raw.market_events, raw.landed_events, raw.rejected_events, ops.loads")
        ids = [
            history(
                settings,
                *(
                    quote("BTC-USD", price, at=NOON + minute * MINUTE, received_at=NOON + seconds * MINUTE)
                    for minute, price, seconds in one
                ),
                origin=f"history {number}",
            )
            for number, one in enumerate(loads)
        ]
        calls = [lambda one=one: audit(settings, loads=[one], now=NOON + 5 * MINUTE) for one in ids]
        found = at_once(*calls) if together else [call() for call in calls]
        assert [type(one) for one in found] == [AuditReport] * len(ids), found
        counts = rows(
            settings, "select sum(inserted_count), sum(duplicate_count), sum(quarantined_count) from ops.loads"
        )
        market = rows(settings, "select event_time, payload, received_at from raw.market_events order by 1, 2, 3")
        bad = rows(settings, "select origin, line_number, reason, raw from raw.rejected_events order by 1, 2")
        return [*counts, *market, *bad]

    assert run(together=True) == run(together=False)


# --- killed ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "point", ["before_load_commit", "after_load_commit", "before_audit_commit", "after_audit_commit"]
)
def test_killed_while_it_brings_history_it_is_repeated_and_ends_the_same(lenient: Settings, point: str) -> None:
    in_the_lake(lenient, "raw/old", [*quotes(3), quote("GHOST", 1, at=NOON)])

    def bring() -> None:
        audit(lenient, loads=load_object(lenient, "raw/old").load_ids, now=NOON)

    preload()  # once here, and not in each child
    assert processes.run(bring, {"QUANTSTREAM_CRASH_AT": point}).killed
    assert rows(lenient, "select count(*) from ops.loads") == [(0 if point == "before_load_commit" else 1,)]

    report = load_object(lenient, "raw/old")
    assert report == (LoadReport(objects=1, events=4) if point == "before_load_commit" else LoadReport(known=1))
    after = audit(lenient, loads=report.load_ids, now=NOON)
    assert after == (AuditReport() if point == "after_audit_commit" else AuditReport(1, 0, 3, 0, 1))
    assert states(lenient) == dict.fromkeys(report.load_ids, "accepted")
    assert rows(lenient, "select count(*) from raw.market_events") == [(3,)]


# --- what the ledger knows ------------------------------------------------------------------------------------------


def test_an_object_that_is_not_what_was_written_is_not_loaded(lenient: Settings) -> None:
    sha256 = in_the_lake(lenient, "raw/old", quotes(1))
    with pytest.raises(LakeError, match="raw/old is not what was written"):
        load_object(lenient, "raw/old", sha256="0" * 64)
    assert rows(lenient, "select count(*) from ops.loads") == [(0,)]
    assert load_object(lenient, "raw/old", sha256=sha256).events == 1


def test_the_report_names_the_load_whether_it_is_new_or_known(lenient: Settings) -> None:
    in_the_lake(lenient, "raw/old", quotes(1))
    new, known = load_object(lenient, "raw/old"), load_object(lenient, "raw/old")
    assert (new.known, known.known) == (0, 1)
    assert new.load_ids == known.load_ids == tuple(states(lenient))


def test_what_the_stream_brings_does_not_wait_for_history_to_be_final(lenient: Settings) -> None:
    key = landed(lenient, Event("simulator", "quote", "AAPL", NOON, "", {"price": 1}, NOON, NOON + MINUTE))
    in_the_lake(lenient, "raw/old", quotes(1))
    load_object(lenient, "raw/old")
    load(lenient)
    audit(lenient, now=NOON)
    assert rows(lenient, "select origin, state from ops.loads order by load_id") == [
        ("raw/old", "landed"), (key, "accepted")
    ]  # fmt: skip
    assert rows(lenient, "select source, complete_until from ops.watermarks") == [("simulator", NOON + MINUTE)]
