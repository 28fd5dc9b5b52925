"""Several rules on one instrument at once: one of them is told, and names the others."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from include.alerts import Severity
from include.life.chains import link, series_of
from include.life.following import follow
from include.life.standing import Standing
from include.life.together import Place, Told, named, place_of, tell_together
from tests.life.pictures import at, finding

WITHIN = timedelta(minutes=2)
ORDER = ["change", "move", "zscore"]


def alert(rule: str, minute: int = 0, symbol: str | None = "AAPL", severity: Severity = "warning") -> Standing:
    one = replace(finding(minute, 5.0), rule=rule, severity=severity)
    (begun,) = follow(series_of(one), [link(one)], [], "equity").begun
    return replace(begun, symbol=symbol, alert_key=f"{rule} {symbol} {minute}", state="new")


def told(begun: list[Standing], before: list[Told] | None = None) -> dict[str, str]:
    return tell_together(begun, before or [], WITHIN, ORDER)


def test_the_rule_that_comes_first_tells_of_the_others() -> None:
    begun = [alert("zscore"), alert("move", 1), alert("change", 1)]
    found = told(begun)
    assert found == {"move AAPL 1": "change AAPL 1", "zscore AAPL 0": "change AAPL 1"}
    assert named(found, {one.alert_key: one for one in begun}) == {"change AAPL 1": " (also move, zscore)"}
    assert told(begun[::-1]) == found


def test_other_minutes_and_other_instruments_are_told_by_themselves() -> None:
    assert told([alert("zscore"), alert("change", 2), alert("move", symbol="MSFT")]) == {}
    assert told([alert("zscore", symbol=None), alert("change", symbol=None)]) == {"zscore None 0": "change None 0"}


def test_the_most_severe_tells_and_what_is_more_severe_than_what_was_said_is_said() -> None:
    assert told([alert("change"), alert("zscore", severity="critical")]) == {"change AAPL 0": "zscore AAPL 0"}
    before = [Told(Place("instrument", "AAPL", at(0)), "said", "warning", "move", "")]
    assert told([alert("change"), alert("zscore", severity="critical")], before) == {"change AAPL 0": "said"}
    assert told([alert("change"), alert("zscore")], before) == {"change AAPL 0": "said", "zscore AAPL 0": "said"}


def test_the_other_way_is_another_matter() -> None:
    down = replace(alert("zscore"), direction="down", alert_key="down")
    no_way = replace(alert("zscore", 1), direction="", alert_key="no way")
    assert told([alert("change"), down, no_way]) == {"no way": "change AAPL 0"}
    assert told([replace(down, rule="change"), alert("change")]) == {}  # one rule, both ways


def test_signals_and_sources_stand_for_themselves() -> None:
    assert told([alert("change"), alert("zscore", severity="info")]) == {}
    assert place_of(replace(alert("change"), scope="source"), WITHIN) is None
