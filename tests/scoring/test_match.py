"""Alerts and labels in, what was found out. Times are minutes of one day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.detection.findings import Finding
from include.pipeline.score_findings import raise_alerts
from include.scoring.chains import Raised
from include.scoring.match import Around, Delays, Label, judge, told_after

DAY = datetime(2026, 3, 2, tzinfo=UTC)


def at(minute: int) -> datetime:
    return DAY + timedelta(minutes=minute)


def alert(minute: int, *more: int, symbol: str = "A") -> Raised:
    return Raised("move", symbol, "up", "warning", tuple(map(at, (minute, *more))))


def label(start: int, end: int, kind: str = "crash", symbol: str = "A") -> Label:
    return Label(symbol, kind, at(start), at(end))


def finding(minute: int, direction: str = "up", cooldown: int = 15) -> Finding:
    return Finding("move", "A", at(minute), direction, 6, 5, "warning", "", cooldown_minutes=cooldown)


def test_findings_no_further_apart_than_the_cooldown_are_one_alert() -> None:
    raised = raise_alerts([finding(45), finding(10), finding(25), finding(12, "down")])
    assert [(one.direction, one.candles) for one in raised] == [
        ("up", (at(10), at(25))),
        ("down", (at(12),)),
        ("up", (at(45),)),
    ]


def test_an_alert_finds_a_label_until_its_grace_is_over_and_is_false_when_the_aftermath_is() -> None:
    labels = [label(100, 110)]
    around = Around(grace=timedelta(minutes=5), aftermath=timedelta(minutes=30))
    said = {}
    for minute in (99, 100, 114, 115, 139, 140):
        judged = judge([alert(minute)], labels, instruments=1, days=1, around=around)
        said[minute] = (judged.found, judged.right, judged.after, judged.wrong)
    assert said == {
        99: (0, 0, 0, 1), 100: (1, 1, 0, 0), 114: (1, 1, 0, 0), 115: (0, 0, 1, 0), 139: (0, 0, 1, 0), 140: (0, 0, 0, 1),
    }  # fmt: skip


def test_an_alert_finds_no_label_of_another_symbol() -> None:
    judged = judge([alert(100, symbol="B")], [label(100, 110)], instruments=2, days=1)
    assert (judged.found, judged.wrong) == (0, 1)


def test_what_is_counted_of_two_days_of_two_instruments() -> None:
    labels = [label(100, 110), label(300, 310), label(500, 510), label(700, 710, "gap")]
    alerts = [alert(102), alert(104), alert(311), alert(120), alert(900), alert(950), alert(703)]
    judged = judge(alerts, labels, kinds=["crash"], instruments=2, days=2)
    assert (judged.labels, judged.found, judged.alerts) == (3, 2, 7)
    assert (judged.right, judged.after, judged.wrong) == (4, 1, 2)  # that of the gap is right as well
    assert judged.recall == pytest.approx(2 / 3)
    assert judged.precision == pytest.approx(4 / 6)
    assert judged.f1 == pytest.approx(2 / 3)
    assert judged.delays == Delays(p50=7.5, p95=11.55, max=12)  # 3 and 12 minutes
    assert (judged.alerts_a_day, judged.wrong_per_instrument_day) == (3.5, 0.5)


def test_what_says_nothing_has_no_precision_and_what_has_nothing_to_find_no_recall() -> None:
    silent = judge([], [label(100, 110)], instruments=1, days=1)
    assert (silent.recall, silent.precision, silent.f1, silent.delays) == (0, None, None, None)
    assert judge([alert(1)], [], instruments=1, days=1).recall is None


def test_an_alert_that_was_open_before_is_no_new_one_but_goes_on() -> None:
    labels, open_before = [label(100, 101)], [alert(90, 95, 101)]
    assert judge(open_before, labels, instruments=1, days=1).found == 0
    assert told_after(open_before, labels, timedelta(minutes=1)) == {0: 2}
