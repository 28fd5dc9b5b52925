"""Replies one after another: who says that all are in, and what happens when none is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import SourceError
from include.sources.asking import Reply, epoch, through

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)


def replies(*refusals: str, broken: bool = False) -> Iterator[Reply[str]]:
    for number, refusal in enumerate(refusals, start=1):
        yield Reply("a question", number, {}, b"{}", refusal)
    if broken:
        raise SourceError("the vendor went away")


def test_the_last_good_reply_says_that_all_are_in() -> None:
    got = list(through("Vendor", replies("", "", "unknown"), NOON, "look here"))
    assert [(reply.number, reply.complete_until) for reply in got] == [(1, None), (3, None), (2, NOON)]


def test_what_came_before_a_failure_is_passed_on_without_saying_so() -> None:
    got = []
    with pytest.raises(SourceError, match="went away"):
        got += [(reply.number, reply.complete_until) for reply in _kept(got, replies("", "", broken=True))]
    assert got == [(1, None), (2, None)]


def _kept(got: list[Any], some: Iterator[Reply[str]]) -> Iterator[Reply[str]]:
    for reply in through("Vendor", some, NOON, "look here"):
        got.append((reply.number, reply.complete_until))
        yield reply


def test_a_vendor_that_refuses_everything_has_failed() -> None:
    said = r"Vendor: refused all that was asked for: A is unknown \(and 1 more\); look here"
    with pytest.raises(SourceError, match=said):
        list(through("Vendor", replies("A is unknown", "B is unknown"), NOON, "look here"))


@given(st.lists(st.booleans(), min_size=1))
def test_every_reply_comes_out_once_and_at_most_one_says_complete(good: list[bool]) -> None:
    got: list[Reply[str]] = []
    try:
        for reply in through("Vendor", replies(*["" if one else "no" for one in good]), NOON, ""):
            got.append(reply)
    except SourceError:
        assert not any(good)
    assert sorted(reply.number for reply in got) == list(range(1, len(good) + 1))
    assert sum(reply.complete_until is not None for reply in got) == any(good)


def test_lines_tell_the_reply_and_its_row() -> None:
    assert Reply("a question", 3, {}, b"").line(42) == 300_042


@given(st.integers(31_536_000, 7_258_118_399), st.integers(0, 999_999_999))
def test_epoch_stamps_are_read_to_the_microsecond(seconds: int, nanoseconds: int) -> None:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    assert epoch("t", seconds) == at
    assert epoch("t", seconds * 1000 + 250, 1000) == at + timedelta(milliseconds=250)
    assert epoch("t", seconds * 10**9 + nanoseconds, 10**9) == at + timedelta(microseconds=nanoseconds // 1000)


@pytest.mark.parametrize("value", [None, "1727875800", True, float("nan"), float("inf"), 0, -5, 10**30, [1]])
def test_what_is_no_epoch_stamp_is_named(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^t is .+(it must be an epoch time|no time between 1971 and 2200)"):
        epoch("t", value)
