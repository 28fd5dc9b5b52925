"""One cause, one alert."""

from __future__ import annotations

from dataclasses import replace

from include.life.chains import link, series_of
from include.life.following import follow, settle
from include.life.groups import Cause, Gathered, cause_of, gather, needed
from include.life.standing import Standing
from tests.life.pictures import at, finding

CAUSE = Cause("zscore", "instrument", "up", at(0))


def begun(symbol: str, minute: int = 0, value: float = 3.5, state: str = "new") -> Standing:
    one = finding(minute, value, symbol=symbol)
    (alert,) = follow(series_of(one), [link(one)], [], "equity").begun
    return replace(alert, state=state)  # type: ignore[arg-type]


def together(members: list[Standing], before: Standing | None = None, least: int = 3) -> Gathered:
    return gather(CAUSE, members, before, {one.alert_key for one in members if one.state == "new"}, least)


def states(gathered: Gathered) -> list[str]:
    return [f"{one.symbol} {one.state}{'' if one.group_key is None else ' in group'}" for one in gathered.members]


def test_minutes_are_fixed_so_that_no_order_matters() -> None:
    assert [cause_of(begun("A", minute), 2) for minute in (0, 1, 2)] == [CAUSE, CAUSE, CAUSE._replace(begins=at(2))]
    assert cause_of(replace(begun("A"), scope="portfolio"), 2) is None


def test_a_group_needs_enough_instruments_and_enough_of_them_all() -> None:
    assert [needed(10, 0.2, known) for known in (5, 50, 51, 500)] == [10, 10, 11, 100]


def test_many_at_once_are_one_alert_and_their_own_are_told_to_nobody() -> None:
    gathered = together([begun("A"), begun("B", 1, -9.0), begun("C")])
    assert states(gathered) == ["A grouped in group", "B grouped in group", "C grouped in group"]
    group = gathered.group
    assert group is not None and (group.state, group.status, group.symbols) == ("new", "open", ("A", "B", "C"))
    assert (group.value, group.threshold, group.finding_count, group.last_candle) == (-9.0, 3.0, 3, at(1))
    assert group.message == "3 instruments at once, zscore up: B: -9 at 1; also A, C"


def test_too_few_are_told_one_by_one() -> None:
    gathered = together([begun("A"), begun("B")])
    assert (states(gathered), gathered.group) == (["A new", "B new"], None)


def test_a_late_member_joins_and_those_that_were_sent_stay_as_sent() -> None:
    early = [begun("A", state="sent"), begun("B", state="sent")]
    first = together([*early, begun("C", 1)])
    assert states(first) == ["A sent in group", "B sent in group", "C grouped in group"]
    assert first.group is not None
    second = together([*first.members, begun("D", 1)], replace(first.group, state="sent"))
    assert second.group is not None
    assert (second.group.symbols, second.group.updates, second.group.state) == (("A", "B", "C", "D"), 1, "sent")
    assert states(second)[3] == "D grouped in group"


def test_a_group_shows_what_its_members_say_now() -> None:
    """A late quote changed a candle of a member: its value is what the group says too."""
    first = together([begun("A"), begun("B", value=9.0), begun("C")])
    assert first.group is not None
    changed = [replace(one, peak_value=4.0, message="4 at 0") if one.symbol == "B" else one for one in first.members]
    second = together(changed, first.group)
    assert second.group is not None
    assert (second.group.value, second.group.message) == (4.0, "3 instruments at once, zscore up: B: 4 at 0; also A, C")
    assert together(changed, second.group).group == second.group  # and once only


def test_it_is_over_when_all_its_members_are() -> None:
    members = [begun("A"), begun("B"), begun("C", 1)]
    some = together([settle(members[0], at(99)), *members[1:]]).group
    assert some is not None and some.status == "open"
    over = together([settle(one, at(99)) for one in members], some).group
    assert over is not None and (over.status, over.resolved_at) == ("resolved", at(6))


def test_a_group_that_nobody_was_told_of_goes_with_its_members_and_a_sent_one_stays() -> None:
    old = [begun(symbol, state="history") for symbol in "ABC"]
    first = together(old)
    assert first.group is not None and first.group.state == "history"
    fewer = together(first.members[:2], first.group)
    assert (fewer.group, fewer.is_gone, states(fewer)) == (None, True, ["A history", "B history"])
    sent = replace(first.group, state="sent")
    stays = together(first.members[:2], sent).group
    assert stays is not None and stays.symbols == ("A", "B")
    left = together([replace(one, is_withdrawn=True) for one in first.members], sent).group
    assert left is not None and (left.is_withdrawn, left.status) == (True, "resolved")


def test_one_symbol_at_many_sources_is_one_instrument() -> None:
    members = [replace(begun("A"), source=source, alert_key=source) for source in ("kraken", "coinbase", "binance")]
    assert together(members).group is None
