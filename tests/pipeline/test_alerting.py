"""Findings in, alerts out: in one transaction, in any order and pieces the same."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from include.detection.findings import Finding, Measure
from include.life.config import Alerting, Grouping
from include.pipeline.alerting import Look, keep_findings
from include.pipeline.tending import Tended, tend_alerts
from include.settings import Settings
from include.warehouse.alert_acts import act, find_key, list_alerts
from include.warehouse.alerts import Written
from include.warehouse.db import connect
from include.warehouse.findings import Judged, replace_findings
from include.warehouse.mutes import add_mute, end_mute
from include.warehouse.outbox import Acceptance, mark_sent, unsent
from tests.life.pictures import at, finding, minute_of

pytestmark = pytest.mark.stack
ALERTING = Alerting(group=Grouping(min_symbols=3, min_share=0, within_minutes=2))
CLASSES = dict.fromkeys(("AAPL", "AMZN", "MSFT", "NVDA", "TSLA"), "equity")
OLD = at(0) + timedelta(days=365)


def keep(
    conn: psycopg.Connection,
    findings: Sequence[Finding],
    first: int = 0,
    until: int = 60,
    *,
    judged: Sequence[str] = ("AAPL",),
    clock: int | None = None,
    now: datetime | None = None,
    send_from: datetime | None = None,
    alerting: Alerting = ALERTING,
) -> Written:
    """What the rule zscore says of these minutes of these symbols; they are judged up to `clock`."""
    spans = [Judged(symbol, at(first), at(until)) for symbol in judged]
    clocks = {} if clock is None else {(symbol, "instrument"): at(clock) for symbol in judged}
    with conn.transaction():
        return keep_findings(
            conn, [Look(["zscore"], spans, findings, clocks)], now=now or at(until), send_from=send_from,
            alerting=alerting, asset_classes=CLASSES,
        )  # fmt: skip


def send(conn: psycopg.Connection) -> list[str]:
    """Send what waits: subjects."""
    waiting = unsent(conn)
    mark_sent(conn, {row.outbox_id: Acceptance("id", "arn", row.created_at, None) for row in waiting})
    return [row.subject for row in waiting]


def picture(conn: psycopg.Connection) -> list[str]:
    """`AAPL 1-4 x3 new open`, by first candle; groups as their symbols."""
    rows = conn.execute(
        "select coalesce(symbol, array_to_string(symbols, '+')), candle_start, last_candle, finding_count, state, "
        "status from marts.alerts order by candle_start, symbol nulls last, alert_key"
    )
    return [f"{who} {minute_of(a)}-{minute_of(b)} x{n} {state} {status}" for who, a, b, n, state, status in rows]


def events(conn: psycopg.Connection, symbol: str | None = "AAPL") -> list[str]:
    rows = conn.execute(
        "select event from marts.alert_history join marts.alerts using (alert_key) "
        "where symbol is not distinct from %s order by seq",
        [symbol],
    )
    return [event for (event,) in rows]


def test_only_what_changed_is_written_and_said_to_have_changed(settings: Settings) -> None:
    one, two = finding(1, measures=(Measure("volume", 9.0, 1.0, None),)), finding(2)
    span = [Judged("AAPL", at(0), at(9))]
    series = ("zscore", "instrument", "AAPL", "", "up")

    def replace(*found: Finding) -> list[tuple[Any, ...]]:
        changes = replace_findings(conn, ["zscore"], span, found)
        return [(c.series, minute_of(c.from_candle), minute_of(c.until_candle), c.is_new) for c in changes]

    with connect(settings) as conn:
        assert replace(one, two) == [(series, 1, 2, True)]
        kept = conn.execute("select xmin, * from ops.findings order by candle_start").fetchall()
        assert replace(one, two) == []
        assert conn.execute("select xmin, * from ops.findings order by candle_start").fetchall() == kept
        assert replace(one, finding(2, 4.0)) == [(series, 2, 2, False)]
        assert replace_findings(conn, ["change"], span, []) == []  # not judged by that rule
        assert replace(finding(1, direction="down")) == [(series, 1, 2, False), ((*series[:4], "down"), 1, 1, True)]


def test_a_chain_is_one_alert_that_is_updated_and_resolves_by_the_clock_of_the_data(settings: Settings) -> None:
    with connect(settings) as conn:
        assert keep(conn, [finding(1)], 1, 2, clock=1) == Written(new=1)
        assert send(conn) == ["WARNING: AAPL: 3.5 at 1"]
        keep(conn, [finding(2, 5.0)], 2, 3, clock=2)
        assert (picture(conn), send(conn)) == (["AAPL 1-2 x2 sent open"], [])
        keep(conn, [], 3, 8, clock=7)
        assert picture(conn) == ["AAPL 1-2 x2 sent open"]
        keep(conn, [], 8, 9, clock=8)
        assert picture(conn) == ["AAPL 1-2 x2 sent resolved"]
        assert events(conn) == ["opened", "sent", "updated", "resolved"]
        row = "select message, latest_message, peak_value, resolved_at, asset_class from marts.alerts"
        assert conn.execute(row).fetchone() == ("3.5 at 1", "5 at 2", 5.0, at(7), "equity")
        assert (send(conn), keep(conn, [finding(9)], 9, 10, clock=9).new) == ([], 1)


def test_several_rules_on_one_instrument_at_once_are_told_once(settings: Settings) -> None:
    with connect(settings) as conn:
        spans = [Judged("AAPL", at(0), at(9))]

        def look(rule: str, *minutes: int) -> Look:
            return Look([rule], spans, [finding(minute, rule=rule) for minute in minutes], {})

        def run(*looks: Look, alerting: Alerting = ALERTING) -> list[str]:
            with conn.transaction():
                keep_findings(conn, looks, now=at(9), send_from=None, alerting=alerting, asset_classes=CLASSES)
            return send(conn)

        assert run(look("change", 2), look("zscore", 3)) == ["WARNING: AAPL: 3.5 at 2 (also zscore)"]
        assert run(look("change", 2), look("move", 2), look("zscore", 3)) == []  # found later, and said already
        rows = conn.execute("select rule, state, told_by is null from marts.alerts order by rule").fetchall()
        assert rows == [("change", "sent", True), ("move", "grouped", False), ("zscore", "grouped", False)]
        assert [one["rule"] for one in list_alerts(conn)] == ["change"]
        act(conn, find_key(conn, str(list_alerts(conn)[0]["alert_key"])), "acknowledged", by="me", note=None, at=at(9))
        assert conn.execute("select count(*) from marts.alerts where status = 'acknowledged'").fetchone() == (3,)
        apart = ALERTING.model_copy(update={"group": Grouping(rules_together=False)})
        assert len(run(look("change", 2, 20), look("zscore", 3, 20), alerting=apart)) == 2


def test_late_data_do_not_page_twice(settings: Settings) -> None:
    with connect(settings) as conn:
        keep(conn, [finding(3)], clock=3)
        send(conn)
        keep(conn, [finding(1), finding(3)], clock=4)
        assert (picture(conn), send(conn)) == (["AAPL 1-3 x2 sent open"], [])
        keep(conn, [], clock=4)
        assert picture(conn) == ["AAPL 1-3 x0 sent resolved"]
        assert events(conn)[-2:] == ["withdrawn", "resolved"]


def test_what_was_found_before_and_lies_far_after_the_change_stays_as_it_is(settings: Settings) -> None:
    """The span that is judged again ends in the midst of the chain of minute 3000."""
    with connect(settings) as conn:
        late = [finding(minute) for minute in (3000, 3001, 3002)]
        keep(conn, late, 2990, 3010, clock=3100)
        keep(conn, [finding(0), *late[:2]], 0, 3002, clock=3100)
        assert picture(conn) == ["AAPL 0-0 x1 new resolved", "AAPL 3000-3002 x3 new resolved"]


def test_an_open_alert_far_away_does_not_draw_what_lies_between_into_a_change(settings: Settings) -> None:
    """What was told as minute 3000 and is found at 3001 by now stays that one alert."""
    with connect(settings) as conn:
        keep(conn, [finding(3000), finding(3001)], 2990, 3010, clock=3100)
        assert len(send(conn)) == 1
        keep(conn, [finding(3001)], 2990, 3010, clock=3100)
        keep(conn, [finding(6000)], 6000, 6001, clock=6000)
        assert len(send(conn)) == 1
        keep(conn, [finding(0)], 0, 1, clock=6000)
        assert picture(conn) == [
            "AAPL 0-0 x1 new resolved", "AAPL 3001-3001 x1 sent resolved", "AAPL 6000-6000 x1 sent open",
        ]  # fmt: skip


def test_a_candle_that_turned_round_is_an_alert_of_its_own(settings: Settings) -> None:
    with connect(settings) as conn:
        keep(conn, [finding(3)])
        send(conn)
        for _ in range(2):
            keep(conn, [finding(3, -4.0, direction="down")])
            assert sorted(picture(conn)) == ["AAPL 3-3 x0 sent resolved", "AAPL 3-3 x1 new open"]
        keys = conn.execute("select direction, finding_count from marts.alerts order by 1").fetchall()
        assert keys == [("down", 1), ("up", 0)]


def test_what_many_do_at_once_is_told_once_and_follows_its_members(settings: Settings) -> None:
    """A late quote changes a candle of a member: the group must show it."""
    three = ("AAPL", "MSFT", "TSLA")
    with connect(settings) as conn:
        values = {"AAPL": 3.5, "MSFT": 9.0, "TSLA": 3.5}
        keep(conn, [finding(0, value, symbol=symbol) for symbol, value in values.items()], judged=three)
        group = "select value, message, finding_count from marts.alerts where symbols is not null"
        assert send(conn) == ["WARNING: 3 instruments at once, zscore up: MSFT: 9 at 0; also AAPL, TSLA"]
        assert picture(conn) == [f"{symbol} 0-0 x1 grouped open" for symbol in three] + [
            "AAPL+MSFT+TSLA 0-0 x3 sent open"
        ]
        keep(conn, [finding(0, 4.0, symbol="MSFT"), finding(1, symbol="MSFT")], judged=["MSFT"])
        assert conn.execute(group).fetchone() == (
            4.0, "3 instruments at once, zscore up: MSFT: 4 at 0; also AAPL, TSLA", 4,
        )  # fmt: skip
        keep(conn, [finding(1, symbol="NVDA")], judged=["NVDA"])  # joins late
        assert send(conn) == []
        keep(conn, [], 2, 30, judged=[*three, "NVDA"], clock=30)
        assert picture(conn) == [
            "AAPL 0-0 x1 grouped resolved", "MSFT 0-1 x2 grouped resolved", "TSLA 0-0 x1 grouped resolved",
            "AAPL+MSFT+NVDA+TSLA 0-1 x5 sent resolved", "NVDA 1-1 x1 grouped resolved",
        ]  # fmt: skip
        assert events(conn, None) == ["opened", "sent", "updated", "updated", "resolved"]


def test_old_alerts_are_written_down_and_sent_to_nobody(settings: Settings) -> None:
    with connect(settings) as conn:
        written = keep(conn, [finding(0), finding(30)], send_from=at(20))
        assert written == Written(new=2, too_old=1)
        assert (picture(conn), len(send(conn))) == (["AAPL 0-0 x1 history open", "AAPL 30-30 x1 new open"], 1)
        assert keep(conn, [], 0, 20, send_from=at(20)) == Written(withdrawn=1)
        assert picture(conn) == ["AAPL 30-30 x1 sent open"]


def test_what_was_too_old_to_be_told_and_goes_on_now_is_told(settings: Settings) -> None:
    """Backfilled, until live candles show that it is not over. Its message says since when it goes on."""
    with connect(settings) as conn:
        keep(conn, [finding(0), finding(2)], clock=2, send_from=at(30))
        assert (picture(conn), send(conn)) == (["AAPL 0-2 x2 history open"], [])
        keep(conn, [finding(6)], 6, 7, clock=6, send_from=at(3))
        assert picture(conn) == ["AAPL 0-6 x3 new open"]
        assert send(conn) == ["WARNING: AAPL: 3.5 at 0"]
        assert events(conn) == ["opened", "sent"]
        keep(conn, [finding(7)], 7, 8, clock=7, send_from=at(3))
        assert send(conn) == []


def test_what_was_too_old_and_goes_on_is_muted_and_told_by_others_as_what_is_new(settings: Settings) -> None:
    with connect(settings) as conn:
        keep(conn, [finding(0)], clock=0, send_from=at(30))
        number = add_mute(
            conn, symbol="AAPL", rule=None, asset_class=None, severity=None, from_at=at(0), until_at=at(60),
            reason="tests", by="ann",
        )  # fmt: skip
        keep(conn, [finding(4)], 4, 5, clock=4, now=at(5), send_from=at(3))
        assert (picture(conn), send(conn)) == (["AAPL 0-4 x2 muted open"], [])
        end_mute(conn, number, at(6))
        three = ("MSFT", "NVDA", "TSLA")
        keep(conn, [finding(10, symbol=one) for one in three], judged=three, clock=10, send_from=at(30))
        keep(conn, [finding(12, symbol=one) for one in three], 12, 13, judged=three, clock=12, send_from=at(11))
        assert [one for one in picture(conn) if "+" in one] == ["MSFT+NVDA+TSLA 10-12 x6 new open"]
        assert send(conn) == ["WARNING: 3 instruments at once, zscore up: MSFT: 3.5 at 10; also NVDA, TSLA"]


def test_a_mute_is_told_nobody_and_what_is_open_at_its_end_is_sent_then(settings: Settings) -> None:
    with connect(settings) as conn:
        number = add_mute(
            conn, symbol="AAPL", rule=None, asset_class=None, severity=None, from_at=at(0), until_at=at(60),
            reason="tests", by="ann",
        )  # fmt: skip
        keep(conn, [finding(1), finding(20)], 0, 25, clock=20, now=at(21))
        assert (picture(conn), send(conn)) == (["AAPL 1-1 x1 muted resolved", "AAPL 20-20 x1 muted open"], [])
        assert tend_alerts(conn, now=at(22), alerting=ALERTING) == Tended()
        assert (end_mute(conn, number, at(23)), end_mute(conn, number, at(23))) == (True, False)
        assert tend_alerts(conn, now=at(23), alerting=ALERTING) == Tended(unmuted=1)
        assert send(conn) == ["WARNING: AAPL: 3.5 at 20 (was muted until now, and is still open)"]
        assert tend_alerts(conn, now=at(24), alerting=ALERTING) == Tended()


def test_what_nobody_acknowledges_is_said_again_and_not_after_somebody_did(settings: Settings) -> None:
    with connect(settings) as conn:
        keep(conn, [finding(1, severity="critical")])
        send(conn)
        (sent_at,) = conn.execute("select sent_at from marts.alerts").fetchone() or ()

        def after(minutes: int) -> tuple[Tended, list[str]]:
            return tend_alerts(conn, now=sent_at + timedelta(minutes=minutes), alerting=ALERTING), send(conn)

        assert after(14) == (Tended(), [])
        assert after(15) == (Tended(escalated=1), ["CRITICAL, escalated: AAPL: 3.5 at 1"])
        assert after(15) == (Tended(), [])
        conn.execute("update marts.alerts set status = 'acknowledged', acknowledged_by = 'ann'")
        assert after(90) == (Tended(), [])
        keep(conn, [finding(1, severity="critical"), finding(2, severity="critical")])
        assert picture(conn) == ["AAPL 1-2 x2 sent acknowledged"]


def test_the_end_is_sent_where_that_is_wanted(settings: Settings) -> None:
    with connect(settings) as conn:
        wanted = ALERTING.model_copy(update={"send_resolved": True})
        keep(conn, [finding(1)], alerting=wanted)
        send(conn)
        keep(conn, [finding(1)], clock=30, alerting=wanted)
        assert send(conn) == ["RESOLVED: AAPL: 3.5 at 1"]


LENGTH = 24
found = st.lists(
    st.tuples(st.sampled_from(["AAPL", "MSFT", "TSLA"]), st.integers(0, LENGTH - 1), st.sampled_from([3.5, -4.0, 7.0])),
    unique_by=lambda one: one[:2], max_size=24,
)  # fmt: skip


@examples(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=found, noise=found, order=st.permutations(range(6)), live=st.booleans())
def test_any_order_and_any_pieces_live_or_backfilled_give_the_same_alerts(
    settings: Settings, found: list[Any], noise: list[Any], order: list[int], live: bool
) -> None:
    """Pieces come in any order, first with what is wrong; what nobody was told of ends as if it had come at once."""
    symbols = ("AAPL", "MSFT", "TSLA")

    def these(said: list[Any], first: int, until: int) -> list[Finding]:
        return [
            finding(minute, value, symbol=symbol, direction="up" if value > 0 else "down", cooldown_minutes=2)
            for symbol, minute, value in said if first <= minute < until
        ]  # fmt: skip

    def everything() -> list[tuple[Any, ...]]:
        return conn.execute(
            "select alert_key, symbol, direction, candle_start, last_candle, finding_count, severity, value, "
            "threshold, peak_value, peak_candle, message, latest_message, status, resolved_at, group_key, symbols "
            "from marts.alerts order by 1"
        ).fetchall()

    def start() -> None:
        conn.execute("truncate marts.alerts, marts.alert_history, ops.outbox, ops.findings, ops.judged")

    # backfilled: nobody is told. Live: in order, without what is wrong, and all are told.
    send_from = None if live else OLD
    with connect(settings) as conn:
        start()
        for piece in sorted(order) if live else order:
            first, until = piece * 4, piece * 4 + 4
            for said in ([] if live else [noise]) + [found]:
                keep(
                    conn, these(said, first, until), first, until, judged=symbols, clock=until - 1, send_from=send_from
                )
        in_pieces = everything()
        start()
        keep(conn, these(found, 0, LENGTH), 0, LENGTH, judged=symbols, clock=LENGTH - 1, send_from=OLD)
        assert everything() == in_pieces
