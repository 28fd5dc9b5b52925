"""A source that disagrees with the others as a picture: basis points of each source, minute by minute, alerts out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.detection.config import Detection, SourceDivergenceRule
from include.detection.divergence import Close, evaluate_closes, longest_run, to_divergence_alert
from include.detection.engine import Finding
from tests.detection.pictures import minute

NONE = None


def closes(
    sources: Mapping[str, Sequence[float | None]], symbol: str = "BTC-USD", *, context: int = 0, count: int = 0
) -> list[Close]:
    """One close per number (None: the source was not compared), the first `context` minutes being older ones."""
    rows = []
    for source, values in sorted(sources.items()):
        for n, value in enumerate(values):
            if value is not None:
                there = [column[n] for column in sources.values() if column[n] is not None]
                highest, lowest = max(there), min(there)  # type: ignore[type-var]
                rows.append(
                    Close(symbol, source, minute(n), 100.0, value, count or len(there), highest, lowest, n >= context)  # type: ignore[arg-type]
                )
    return rows


def found(rows: Sequence[Close], rule: Mapping[str, object] | None = None) -> list[Finding]:
    detection = Detection.model_validate({"rules": {"source_divergence": rule or {}}})
    return [one for part in evaluate_closes([rows], detection, {"BTC-USD": "crypto"}) for one in part]


def alerts(rows: Sequence[Close], rule: Mapping[str, object] | None = None) -> list[str]:
    return [f"{one.candle_start:%H:%M} {one.source} {one.direction}" for one in found(rows, rule) if one.is_start]


@pytest.mark.parametrize(
    ("kraken", "expected"),
    [
        pytest.param([101, 101, 101, 101, 101], ["09:02 kraken up"], id="the third in a row, once"),
        pytest.param([0, -150, -150, -150], ["09:03 kraken down"], id="downwards"),
        pytest.param([100, 100, 100, 100], [], id="the threshold itself is inside"),
        pytest.param([150, 150, 0, 150, 150], [], id="two are not enough"),
        pytest.param([150, 150, NONE, 150, 150], ["09:03 kraken up"], id="a minute without a close is left out"),
        pytest.param([150, 150, 150, 0, 150, 150, 150], ["09:02 kraken up", "09:06 kraken up"], id="a second episode"),
        pytest.param([150, 150, -150, -150, -150], ["09:04 kraken down"], id="the other side begins anew"),
    ],
)
def test_an_episode(kraken: list[float | None], expected: list[str]) -> None:
    assert alerts(closes({"kraken": kraken}, count=4)) == expected


def test_those_who_are_right_are_not_blamed_for_the_one_who_is_wrong() -> None:
    three = {"binance": [-150] * 3, "coinbase": [-150] * 3, "kraken": [300] * 3}
    two = {"coinbase": [-198] * 3, "kraken": [202] * 3}
    many = {"a": [0] * 3, "b": [0] * 3, "binance": [-200] * 3, "coinbase": [0] * 3, "kraken": [300] * 3}
    assert alerts(closes(three)) == ["09:02 kraken up"]
    assert alerts(closes(two)) == ["09:02 kraken up"]
    assert alerts(closes(many)) == ["09:02 binance down", "09:02 kraken up"], "two of five are wrong"


def test_what_came_before_is_context_only() -> None:
    assert alerts(closes({"kraken": [150] * 4}, count=4, context=2)) == ["09:02 kraken up"]
    assert alerts(closes({"kraken": [150] * 4}, count=4, context=3)) == []


def test_the_nearest_values_hold() -> None:
    rule = {
        "threshold": 200,
        "asset_classes": {"crypto": {"consecutive": 1}},
        "instruments": {"BTC-USD": {"threshold": 50, "severity": "critical"}, "ETH-USD": {"consecutive": 9}},
    }
    (one,) = found(closes({"kraken": [60]}, count=4), rule)
    assert (one.threshold, one.severity, one.is_start) == (50, "critical", True)
    assert found(closes({"kraken": [900] * 5}, count=4), {"enabled": False}) == []
    assert longest_run(Detection.model_validate({"rules": {"source_divergence": rule}})) == 9


def test_the_alert_names_the_source_and_has_a_key_of_its_own() -> None:
    rows = closes({"binance": [-150], "kraken": [240.4]}, count=5)
    low, high = (to_divergence_alert(one) for one in found(rows, {"consecutive": 1}))
    assert high.message == "kraken says 100.00, 240 basis points above the other sources (limit 100)"
    assert low.message == "binance says 100.00, 150 basis points below the other sources (limit 100)"
    assert (high.rule, high.category, high.severity) == ("source_divergence", "market", "warning")
    assert (high.symbol, high.candle_start, high.value, high.threshold) == ("BTC-USD", minute(0), 240.4, 100)
    assert high.key != low.key, "two sources may begin to disagree in the same minute"


series = st.lists(st.sampled_from([None, 0, 90, 150, -150]), min_size=8, max_size=8)


@given(kraken=series, binance=series, cuts=st.sets(st.integers(1, 15)), known=st.integers(0, 8))
def test_however_it_is_cut_and_wherever_it_begins_the_alerts_are_the_same(
    kraken: list[float | None], binance: list[float | None], cuts: set[int], known: int
) -> None:
    rows = closes({"kraken": kraken, "binance": binance}, count=4)
    edges = [0, *sorted(cut for cut in cuts if cut < len(rows)), len(rows)]
    rule = SourceDivergenceRule()
    batches = [rows[start:end] for start, end in pairwise(edges)]
    in_parts = [one for part in evaluate_closes(batches, Detection(), {}) for one in part]
    assert sorted(in_parts, key=repr) == sorted(found(rows), key=repr)
    # from a later minute on, with as many older closes of each source as the rule counts
    later = []
    for source in ("binance", "kraken"):
        mine = [row for row in rows if row.source == source]
        older = [row._replace(is_new=False) for row in mine if row.candle_start < minute(known)]
        later += [*older[-rule.consecutive :], *(row for row in mine if row.candle_start >= minute(known))]
    assert [one for one in found(later) if one.is_start] == [
        one for one in found(rows) if one.is_start and one.candle_start >= minute(known)
    ]
