"""alerting.yml: what is left out has its defaults, what is wrong is said with file and line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from include.errors import ConfigError
from include.life.config import Alerting, load_alerting
from include.settings import ROOT


def read(tmp_path: Path, text: str) -> Alerting:
    file = tmp_path / "alerting.yml"
    file.write_text(text)
    return load_alerting(file, symbols={"AAPL", "MSFT"}, rules=["zscore", "change"])


def test_the_file_that_is_shipped_says_the_defaults() -> None:
    assert load_alerting(ROOT / "include" / "config" / "alerting.yml") == Alerting()


def test_an_empty_file_has_the_defaults(tmp_path: Path) -> None:
    assert read(tmp_path, "# nothing yet\n") == Alerting()


def test_every_mistake_is_said_with_its_line_and_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as wrong:
        read(
            tmp_path,
            """\
group: {min_symbols: ten, min_share: 20}
escalations: {}
escalation:
  critical: {after_minutes: 15, tmes: 3}
  warning: {becomes: critical}
maintenance:
  - name: upgrade
    days: [saturday, caturday]
    from: "02:00"
    until: "04:60"
""",
        )
    said = [line.strip().removeprefix(f"{tmp_path}/") for line in str(wrong.value).splitlines()]
    assert said == [
        "wrong settings of alerts:",
        "alerting.yml:1: group.min_share is 20: input should be less than or equal to 1 (share of all instruments, "
        "0 to 1)",
        "alerting.yml:1: group.min_symbols is 'ten': input should be a valid integer (instruments, 2 or more)",
        "alerting.yml:2: unknown key 'escalations' (did you mean 'escalation'?); allowed: group, escalation, "
        "send_resolved, maintenance",
        "alerting.yml:4: unknown key 'tmes' (did you mean 'times'?); allowed: after_minutes, times, becomes",
        "alerting.yml:5: escalation.warning.after_minutes is missing",
        "alerting.yml:8: maintenance.0.days.1 is 'caturday': input should be 'monday', 'tuesday', 'wednesday', "
        "'thursday', 'friday', 'saturday' or 'sunday'",
        "alerting.yml:10: maintenance.0.until is '04:60': no time "
        '("04:00" with days, else 2026-12-25T06:00:00Z; UTC)',
    ]


@pytest.mark.parametrize(
    ("window", "said"),
    [
        ("{name: x, from: 2026-12-24T20:00:00Z, until: 2026-12-24T20:00:00Z}", "until is not after from"),
        ("{name: x, from: '02:00', until: '04:00'}", "with days, from and until are times"),
        ("{name: x, days: [monday], from: '02:00', until: '04:00', symbols: [APPL]}", "did you mean 'AAPL'"),
        ("{name: x, days: [monday], from: '02:00', until: '04:00', rules: [zcore]}", "did you mean 'zscore'"),
    ],
)
def test_a_window_that_means_nothing_is_refused(tmp_path: Path, window: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as wrong:
        read(tmp_path, f"maintenance:\n  - {window}\n")
    assert "alerting.yml:2: " in str(wrong.value)


def test_a_file_that_is_not_there_names_its_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="QUANTSTREAM_ALERTING_FILE"):
        load_alerting(tmp_path / "nowhere.yml")


def holds(tmp_path: Path, window: str, *moments: str) -> list[bool]:
    (one,) = read(tmp_path, f"maintenance:\n  - {window}\n").maintenance
    return [one.holds(datetime.fromisoformat(moment).replace(tzinfo=UTC)) for moment in moments]


def test_windows_are_weekly_or_once_and_half_open(tmp_path: Path) -> None:
    """2026-01-03 is a Saturday. YAML takes 22:00 without quotes for a number; it is meant all the same."""
    weekly = "{name: x, days: [saturday], from: 22:00, until: '02:00'}"
    moments = ["2026-01-03 21:59", "2026-01-03 22:00", "2026-01-04 01:59", "2026-01-04 02:00", "2026-01-03 01:00"]
    assert holds(tmp_path, weekly, *moments) == [False, True, True, False, False]
    once = "{name: x, from: 2026-01-03T22:00:00Z, until: 2026-01-05T02:00:00+01:00}"
    assert holds(tmp_path, once, *moments, "2026-01-05 01:00") == [False, True, True, True, False, False]
