"""Which ids were seen: holes, duplicates and late ones, in any order of arrival."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from include.feeds.coverage import Coverage

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def at(number: int) -> datetime:
    return NOON + timedelta(seconds=number)


def covered(*numbers: int) -> Coverage:
    coverage = Coverage()
    for number in numbers:
        coverage.add(number, at(number))
    return coverage


def holes(coverage: Coverage) -> list[tuple[int, int]]:
    return [(hole.first, hole.last) for hole in coverage.holes()]


def test_a_skipped_id_is_a_hole_between_two_times() -> None:
    (hole,) = covered(7, 8, 11).holes()
    assert (hole.first, hole.last, hole.count, hole.begins, hole.ends) == (9, 10, 2, at(8), at(11))


def test_a_late_trade_is_new_once_and_closes_its_hole() -> None:
    coverage = covered(7, 9)
    assert coverage.add(8, at(8)) and not coverage.add(8, at(8))
    assert holes(coverage) == []


def test_what_is_given_up_is_no_hole_any_more() -> None:
    coverage = covered(1, 3, 7)
    coverage.close(2)
    assert holes(coverage) == [(4, 6)]
    coverage.close(6)
    assert holes(coverage) == []


def test_a_vendor_that_counts_anew_is_not_taken_for_old_trades() -> None:
    coverage = covered(5_000_000)
    assert coverage.add(1, at(1)) and coverage.add(2, at(2))
    assert holes(coverage) == []


def test_very_many_holes_do_not_grow_without_bound() -> None:
    coverage = covered(*range(0, 5_000, 2))
    assert len(coverage.spans) == 1000
    assert coverage.newest is not None and coverage.newest.last == 4_998


@given(st.lists(st.integers(1, 60), max_size=80))
def test_in_any_order_each_id_is_new_once_and_holes_are_what_is_missing_between(numbers: list[int]) -> None:
    coverage, seen = Coverage(), set[int]()
    for number in numbers:
        assert coverage.add(number, at(number)) is (number not in seen)
        seen.add(number)
    missing = {n for n in range(min(seen, default=0), max(seen, default=0)) if n not in seen}
    assert {n for first, last in holes(coverage) for n in range(first, last + 1)} - {0} == missing - {0}
    for hole in coverage.holes():
        assert (hole.begins, hole.ends) == (at(hole.first - 1), at(hole.last + 1))
