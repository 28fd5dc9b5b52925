"""What is put into a message when it leaves: its key, its delay, the link to a chart, and the topic it goes to."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.alerts import Alert
from include.errors import ConfigError
from include.notify.dressing import dress
from include.notify.topics import topic_of
from include.settings import ROOT, Settings, load_settings

AT = datetime(2026, 1, 2, 9, 3, tzinfo=UTC)
END = AT + timedelta(minutes=1)
ALERT = Alert("zscore", "market", "warning", "far out", "BRK B", AT)
ONE = "arn:aws:sns:eu-central-1:123:alerts.fifo"


@dataclass(frozen=True)
class Row:
    alert: Alert
    message_key: str = "k"
    created_at: datetime = END
    outbox_id: int = 1
    subject: str = field(init=False)
    body: str = field(init=False)
    attributes: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        for name, value in (
            ("subject", self.alert.subject), ("body", self.alert.body()), ("attributes", self.alert.attributes),
        ):  # fmt: skip
            object.__setattr__(self, name, value)


def body(row: Row, after: timedelta, chart_url: str = "") -> dict[str, Any]:
    """The body of what leaves so long after the candle's end; late is what takes five minutes."""
    message = dress(row, END + after, late_after=timedelta(minutes=5), chart_url=chart_url)
    found: dict[str, Any] = json.loads(message.body)
    assert message.subject == found["subject"] and message.message_key == found["message_key"] == row.message_key
    assert (message.attributes.get("late") == "true") is found["late"]
    return found


@pytest.mark.parametrize(
    ("after", "mark"),
    [
        (timedelta(minutes=5), ""),
        (timedelta(minutes=5, seconds=1), "LATE 5 min: "),
        (timedelta(minutes=62), "LATE 62 min: "),
        (timedelta(hours=5, minutes=59), "LATE 5 h: "),
        (timedelta(days=3), "LATE 3 days: "),
    ],
)
def test_what_leaves_late_says_so_wherever_it_is_read(after: timedelta, mark: str) -> None:
    found = body(Row(ALERT), after)
    assert found["subject"] == f"{mark}WARNING: BRK B: far out"
    assert found["text"].splitlines()[0] == f"{mark}BRK B: far out"
    assert found["late_seconds"] == (after.total_seconds() if mark else None)
    assert found["message"] == "far out"


def test_the_mark_does_not_make_a_subject_too_long() -> None:
    found = body(Row(replace(ALERT, message="far " * 40)), timedelta(hours=1))
    assert found["subject"].startswith("LATE 60 min: WARNING: BRK B: far") and len(found["subject"]) == 99


def test_what_is_about_no_candle_is_late_once_it_has_waited() -> None:
    ours = Alert("gap", "operations", "warning", "an hour of yesterday is missing", candle_start=AT - timedelta(days=1))
    assert body(Row(ours), timedelta(minutes=4))["late"] is False
    assert body(Row(ours), timedelta(minutes=6))["late"] is True
    over = Row(replace(ALERT, kind="resolved"), created_at=END + timedelta(minutes=30))
    assert body(over, timedelta(minutes=31))["late"] is False


def test_a_row_of_an_older_version_leaves_as_well() -> None:
    row = Row(ALERT)
    old = {name: value for name, value in json.loads(row.body).items() if name not in ("candle_end", "kind", "symbols")}
    object.__setattr__(row, "body", json.dumps(old))
    assert body(row, timedelta(minutes=1))["message"] == "far out"


def test_the_examples_of_the_guide_are_what_is_sent() -> None:
    start = datetime(2026, 11, 20, 15, 42, tzinfo=UTC)
    alert = Alert(
        "zscore", "market", "critical", "5.2 % down in a minute, 6.1 standard deviations below its mean", "BTC-USD",
        start, "down", -6.1, 3.0, asset_class="crypto", spark="▆▆▇▇█▇▆▆▅▆▆▇▇▆▆▅▅▄▄▁",
        measures=(("zscore", -6.1, -3.0, 3.0), ("return %", -5.2, -0.3, 0.31), ("volume", 182.4, 2.1, 38.0)),
    )  # fmt: skip
    guide = (ROOT / "docs/delivery.md").read_text()
    shown = "".join(f"    {line}\n" if line else "\n" for line in (alert.subject, "", *alert.text.splitlines()))
    assert shown in guide
    message = dress(Row(alert, alert.key), start + timedelta(minutes=63), late_after=timedelta(minutes=5))
    (example,) = re.findall(r"^```json\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    assert json.loads(example) == json.loads(message.body)
    table = guide.partition("| field | type")[2].partition("\n\n")[0]
    first = " ".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`(\w+)`", first)) == json.loads(example).keys()
    rows = guide.partition("| attribute | for")[2].partition("\n\n")[0]
    assert message.attributes.keys() <= set(re.findall(r"^\| `(\w+)`", rows, re.MULTILINE))


def test_the_link_to_a_chart_is_made_of_the_alert() -> None:
    url = "https://charts.example.com/{symbol}.png?from={start}&to={end}&why={rule}"
    link = "https://charts.example.com/BRK%20B.png?from=2026-01-02T05%3A03%3A00Z&to=2026-01-02T09%3A04%3A00Z&why=zscore"
    found = body(Row(ALERT), timedelta(), url)
    assert (found["chart_url"], found["text"].splitlines()[-1]) == (link, link)
    assert body(Row(ALERT), timedelta())["chart_url"] is None
    assert body(Row(replace(ALERT, symbol=None)), timedelta(), url)["chart_url"] is None


@pytest.mark.parametrize(
    "template", ["https://x/{user}", "https://x/{symbol", "https://x/{}", "https://x/{symbol.real}"]
)
def test_a_chart_template_that_names_something_else_is_refused(template: str) -> None:
    with pytest.raises(ConfigError, match=r"QUANTSTREAM_CHART_URL = .*stand for something"):
        load_settings(chart_url=template)


@pytest.mark.parametrize(
    ("severity", "topic"),
    [
        ("critical", "arn:aws:sns:eu-central-1:123:pager"),
        ("warning", "arn:aws:sns:us-east-1:456:theirs"),
        ("info", ONE),
        ("", ONE),
    ],
)
def test_a_severity_may_have_a_topic_of_its_own(severity: str, topic: str) -> None:
    settings = Settings(
        _env_file=None, topic_arn=ONE, topic_critical="pager", topic_warning="arn:aws:sns:us-east-1:456:theirs"
    )
    assert topic_of(settings, severity) == topic
