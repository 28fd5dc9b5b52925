"""From findings to alerts: pure, but what somebody was told keeps its key."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from include.life.chains import link
from include.life.following import append, can_append, follow, settle
from include.life.standing import Standing, what_happened
from tests.life.pictures import SERIES, alerts_of, at, finding, picture


def sent(minute: int, until: int | None = None) -> Standing:
    """An alert of findings in each of these minutes, that was sent."""
    (one,) = alerts_of([finding(n) for n in range(minute, (until or minute) + 1)]).begun
    return replace(one, state="sent")


def test_a_chain_begins_an_alert_and_the_next_one_another() -> None:
    followed = alerts_of([finding(0), finding(1), finding(20)])
    assert picture(followed.begun) == ["0-1 x2 history open", "20-20 x1 history open"]
    assert (followed.standing, followed.gone) == ([], [])


def test_later_findings_update_it_and_say_so_once() -> None:
    before = sent(0)
    followed = alerts_of([finding(0), finding(1, 9.0)], [before])
    assert picture(followed.standing) == ["0-1 x2 sent open"]
    (now,) = followed.standing
    assert (now.alert_key, now.updates, now.peak_value, now.message) == (before.alert_key, 1, 9.0, before.message)
    assert [event.event for event in what_happened(before, now, at(2))] == ["updated"]
    assert alerts_of([finding(0), finding(1, 9.0)], [now]).standing == [now]


def test_what_nobody_was_told_follows_the_findings_and_is_forgotten() -> None:
    (before,) = alerts_of([finding(3)]).begun
    followed = alerts_of([finding(1), finding(3)], [before])
    assert (picture(followed.begun), followed.gone) == (["1-3 x2 history open"], [before.alert_key])


def test_a_sent_alert_whose_beginning_moves_keeps_its_key_and_pages_nobody() -> None:
    for findings, there in (
        ([finding(1), finding(3)], "1-3 x2 sent open"),  # an earlier finding came late
        ([finding(4), finding(6)], "4-6 x2 sent open"),  # late data took the first one away
    ):
        before = sent(3)
        followed = alerts_of(findings, [before])
        assert (followed.begun, followed.gone, picture(followed.standing)) == ([], [], [there])
        assert followed.standing[0].alert_key == before.alert_key


def test_a_sent_alert_of_which_nothing_is_left_is_withdrawn_and_may_come_back() -> None:
    before = sent(3, 5)
    (withdrawn,) = follow(SERIES, [], [before]).standing
    assert (withdrawn.is_withdrawn, withdrawn.finding_count) == (True, 0)
    assert settle(withdrawn, None).status == "resolved"
    assert [e.event for e in what_happened(before, settle(withdrawn, None), at(9))] == ["withdrawn", "resolved"]
    (back,) = alerts_of([finding(3)], [settle(withdrawn, None)]).standing
    assert (back.alert_key, back.is_withdrawn, settle(back, at(3)).status) == (before.alert_key, False, "open")


def test_two_sent_alerts_that_late_data_join_are_one_and_two_again() -> None:
    one, two = sent(0, 1), sent(10, 11)
    joined = alerts_of([finding(n) for n in (0, 1, 5, 10, 11)], [one, two])
    assert [(a.alert_key == one.alert_key, a.finding_count, a.is_withdrawn) for a in joined.standing] == [
        (True, 5, False), (False, 0, True),
    ]  # fmt: skip
    apart = alerts_of([finding(n) for n in (0, 1, 10, 11)], joined.standing)
    assert [(a.alert_key, a.finding_count) for a in apart.standing] == [(one.alert_key, 2), (two.alert_key, 2)]


def test_it_is_over_when_a_finding_could_no_longer_go_on_with_it() -> None:
    alert = sent(0, 1)  # goes on until minute 6
    assert settle(alert, None).status == settle(alert, at(6)).status == "open"
    over = settle(alert, at(7))
    assert (over.status, over.resolved_at) == ("resolved", at(6))
    (longer,) = alerts_of([finding(0), finding(1), finding(6)], [over]).standing
    again = settle(longer, at(7))
    assert (again.status, again.resolved_at) == ("open", None)
    assert [event.event for event in what_happened(over, again, at(9))] == ["updated", "reopened"]


def test_what_somebody_acknowledged_or_resolved_stays_so() -> None:
    seen = replace(sent(0), acknowledged_by="ann", status="acknowledged")
    assert settle(settle(seen, at(99)), at(2)).status == "acknowledged"
    done = replace(sent(0), resolved_by="ann", resolved_at=at(1), status="resolved")
    assert settle(done, at(2)) == done


minutes = st.lists(st.integers(0, 40), unique=True, max_size=14)


@given(minutes=minutes, order=st.randoms(), pieces=st.integers(1, 4))
def test_any_order_and_any_pieces_give_the_alerts_of_all_at_once(
    minutes: list[int], order: object, pieces: int
) -> None:
    """Nobody was told: the keys, spans, counts and values follow from the findings alone."""
    shuffled = sorted(minutes, key=lambda _: order.random())  # type: ignore[attr-defined]
    standing: list[Standing] = []
    there: list[int] = []
    for piece in range(pieces):
        new = shuffled[piece::pieces]
        there += new
        if new and can_append(standing, at(min(new))):
            followed = append(SERIES, [link(finding(n, 3 + n % 7)) for n in new], standing, "equity")
            kept = [one for one in standing if one.alert_key not in {s.alert_key for s in followed.standing}]
            standing = [*kept, *followed.standing, *followed.begun]
        else:
            followed = follow(SERIES, [link(finding(n, 3 + n % 7)) for n in there], standing, "equity")
            standing = [*followed.standing, *followed.begun]
    at_once = follow(SERIES, [link(finding(n, 3 + n % 7)) for n in minutes], [], "equity").begun
    assert sorted(standing, key=lambda one: one.candle_start) == at_once
