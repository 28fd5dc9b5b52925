"""Findings that are close together are one chain, however they are given."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from include.life.chains import Chain, chains, link
from tests.life.pictures import at, finding, minute_of


def spans(made: list[Chain]) -> list[str]:
    return [f"{minute_of(one.first)}-{minute_of(one.last)} x{one.count}" for one in made]


def test_findings_no_further_apart_than_the_cooldown_are_one_chain() -> None:
    assert spans(chains(link(finding(minute)) for minute in (0, 1, 6, 12, 13))) == ["0-6 x3", "12-13 x2"]


def test_the_cooldown_that_counts_is_that_of_the_earlier_finding() -> None:
    short, long = finding(0, cooldown_minutes=1), finding(2, cooldown_minutes=60)
    assert spans(chains([link(short), link(long)])) == ["0-0 x1", "2-2 x1"]
    assert spans(chains([link(finding(0, cooldown_minutes=60)), link(finding(2, cooldown_minutes=1))])) == ["0-2 x2"]


def test_a_chain_says_how_it_began_how_it_is_and_how_bad_it_got() -> None:
    (chain,) = chains(
        [
            link(finding(0, 3.5)), link(finding(1, -9.0, severity="critical")), link(finding(2, 9.0)),
            link(finding(3, 3.1, severity="info")),
        ]
    )  # fmt: skip
    assert (chain.value, chain.message, chain.latest_message) == (3.5, "3.5 at 0", "3.1 at 3")
    assert (chain.peak_value, chain.peak_candle, chain.strength) == (-9.0, at(1), 3.0)  # of equal ones the first
    assert chain.severity == "critical"


def test_a_value_that_is_not_known_is_no_peak() -> None:
    (chain,) = chains([link(finding(0, float("nan"))), link(finding(1, 3.2)), link(finding(2, 0.0))])
    assert chain.peak_value == 3.2


minutes = st.lists(
    st.tuples(st.integers(0, 40), st.floats(3, 9), st.sampled_from(["info", "warning", "critical"])),
    unique_by=lambda one: one[0], max_size=12,
)  # fmt: skip


@given(given=minutes, cut=st.integers(0, 12))
def test_a_part_that_is_summed_up_already_gives_the_same_as_all_at_once(
    given: list[tuple[int, float, str]], cut: int
) -> None:
    findings = [link(finding(minute, value, severity=severity)) for minute, value, severity in given]
    in_order = sorted(findings, key=lambda one: one.first)
    assert chains([*chains(in_order[:cut]), *in_order[cut:]]) == chains(findings)
