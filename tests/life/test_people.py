"""Who is told: mutes, maintenance, and what is said again."""

from __future__ import annotations

from dataclasses import replace

from include.life.config import Alerting, Escalation, Escalations, Maintenance
from include.life.escalation import escalate
from include.life.mutes import Mute, muted_by
from include.life.standing import Standing
from tests.life.pictures import alerts_of, at, finding

POLICY = Alerting().escalation  # critical: after 15 minutes, 3 times; warning: critical after 60


def sent(severity: str = "warning") -> Standing:
    (one,) = alerts_of([finding(0, severity=severity)]).begun
    return replace(one, state="sent", sent_at=at(0))


def mute(symbol: str | None = None, rule: str | None = None, **what: str) -> Mute:
    return Mute(7, symbol, rule, what.get("asset_class"), what.get("severity"), at(0), at(9))


def test_a_mute_matches_what_it_names_while_it_holds() -> None:
    assert muted_by(sent(), at(0), [mute(symbol="AAPL", rule="zscore")], []) == "mute 7"
    assert muted_by(sent(), at(9), [mute()], []) is None
    for other in (mute(symbol="MSFT"), mute(rule="change"), mute(asset_class="crypto"), mute(severity="info")):
        assert muted_by(sent(), at(1), [other], []) is None


def test_a_maintenance_window_says_its_name() -> None:
    window = Maintenance(name="upgrade", since=at(0), until=at(9), asset_classes=("equity",), rules=("zscore",))
    assert muted_by(sent(), at(1), [], [window]) == "maintenance: upgrade"
    assert muted_by(replace(sent(), rule="change"), at(1), [], [window]) is None


def said_again(alert: Standing, minutes: range, policy: Escalations = POLICY) -> list[tuple[int, str, str]]:
    """Looked at every minute: when it is said again, as what, and the end of the message's key."""
    said: list[tuple[int, str, str]] = []
    for minute in minutes:
        if again := escalate(alert, at(minute), policy):
            alert = again.alert
            said.append((minute, alert.severity, again.message_key.removeprefix(alert.alert_key)))
    return said


def test_a_critical_alert_is_said_again_so_often() -> None:
    assert said_again(sent("critical"), range(200)) == [
        (15, "critical", ":escalated:1"), (30, "critical", ":escalated:2"), (45, "critical", ":escalated:3"),
    ]  # fmt: skip


def test_a_warning_becomes_critical_and_is_treated_as_that_from_then_on() -> None:
    assert [(minute, severity) for minute, severity, _ in said_again(sent(), range(200))] == [
        (60, "critical"), (75, "critical"), (90, "critical"), (105, "critical"),
    ]  # fmt: skip


def test_a_long_pause_is_one_message_and_not_all_that_were_missed() -> None:
    assert said_again(sent("critical"), range(600, 616)) == [
        (600, "critical", ":escalated:1"), (615, "critical", ":escalated:2"),
    ]  # fmt: skip


def test_nothing_is_said_again_of_what_is_seen_over_old_or_not_meant_to_be() -> None:
    for alert in (
        replace(sent("critical"), status="acknowledged"), replace(sent("critical"), status="resolved"),
        replace(sent("critical"), state="history"), replace(sent("critical"), state="new", sent_at=None),
        sent("info"),
    ):  # fmt: skip
        assert said_again(alert, range(300)) == []
    assert said_again(sent("critical"), range(300), Escalations()) == []
    never = Escalations(critical=Escalation(after_minutes=5))
    assert said_again(sent("critical"), range(300), never) == []
