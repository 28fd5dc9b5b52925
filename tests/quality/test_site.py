"""The data docs: a page per audit and an index, bounded, repeatable, and harmless whatever the data hold."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from include.quality import site
from include.quality.engine import LINE, Checked, check
from include.quality.site import Page, publish, site_folder
from include.settings import Settings

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
EVIL = "<script>alert(1)</script>$x ${symbol} {{ 7*7 }}"


@pytest.fixture
def local(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, home=tmp_path)


@pytest.fixture(scope="module")
def checked() -> Checked:
    numbers = {name: Decimal("-2.5") for name in ("open", "high", "low", "close", "volume")}
    event = {LINE: 1, "symbol": EVIL, "instrument": None, "event_time": NOON, "live_event_time": NOON, "modelled": 1}
    limits = {"latest_time": "2027-01-01T00:00:00Z", "earliest_time": "2020-01-01T00:00:00Z"}
    return check("bar", "bars of load 1", pd.DataFrame([{**event, **numbers, "resolution": EVIL}]), LINE, limits)


def page(name: str, state: str = "accepted", minutes: int = 0) -> Page:
    return Page("loads", name, f"Load {name}", NOON + timedelta(minutes=minutes), state, "1 row", "raw/a", [EVIL])


def links(html: str) -> list[str]:
    found: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(value for name, value in attrs if name in ("href", "src") and value)

    Links().feed(html)
    return found


def test_a_page_shows_what_failed_and_every_link_leads_to_a_file(local: Settings, checked: Checked) -> None:
    written = publish(local, page("7", "rejected"), [checked])
    text = written.read_text()
    assert written == local.home / "data_docs" / "loads" / "7.html"
    assert "Load 7" in text
    assert "-2.5" in text
    assert re.search(r"must be greater than .*0", text)
    for file in site_folder(local).rglob("*.html"):
        for link in links(file.read_text()):
            assert not link.startswith(("http:", "https:", "//", "/")), f"{file}: {link} is fetched from elsewhere"
            assert link.startswith("#") or (file.parent / link).is_file(), f"{file}: {link} leads nowhere"


def test_values_from_outside_do_no_harm(local: Settings, checked: Checked) -> None:
    publish(local, page("7", "rejected"), [checked])
    for file in site_folder(local).rglob("*.html"):
        text = file.read_text()
        assert "<script" not in text
        assert "49" not in re.findall(r"\{\{.*?\}\}|49", text)


def test_a_repeated_audit_replaces_its_page(local: Settings, checked: Checked) -> None:
    publish(local, page("7", "rejected"), [checked])
    publish(local, page("7", "accepted", 1), [checked])
    index = (site_folder(local) / "index.html").read_text()
    assert index.count('href="loads/7.html"') == 1
    assert "rejected</span>" not in index


def test_history_is_bounded_and_failures_stay_longer(
    local: Settings, checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "KEPT", 3)
    monkeypatch.setattr(site, "KEPT_FAILED", 2)
    for number in range(8):
        publish(local, page(str(number), "rejected" if number in (0, 1, 2) else "accepted", number), [checked])
    assert sorted(file.stem for file in (site_folder(local) / "loads").iterdir()) == ["1", "2", "5", "6", "7"]
    shown = [link for link in links((site_folder(local) / "index.html").read_text()) if link.startswith("loads/")]
    assert shown == ["loads/7.html", "loads/6.html", "loads/5.html", "loads/2.html", "loads/1.html"]


def test_two_writers_at_once_lose_no_page(local: Settings, checked: Checked) -> None:
    publish(local, page("0"), [checked])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: publish(local, page(str(number)), []), range(1, 13)))
    assert len({link for link in links((site_folder(local) / "index.html").read_text()) if "loads/" in link}) == 13


def test_a_broken_history_is_begun_anew(local: Settings, checked: Checked) -> None:
    publish(local, page("1"), [checked])
    (site_folder(local) / "history.json").write_text("{")
    publish(local, page("2"), [checked])
    assert 'href="loads/2.html"' in (site_folder(local) / "index.html").read_text()


def test_the_rules_are_listed(local: Settings, checked: Checked) -> None:
    publish(local, page("1"), [checked])
    assert "ask_is_not_below_bid" in (site_folder(local) / "rules.html").read_text()
