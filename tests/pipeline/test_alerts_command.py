"""`quantstream alerts list`, `show`, `ack`, `resolve`, `mute`: what people see of alerts and do with them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from include import cli
from include.detection.findings import Measure
from include.errors import ConfigError, QuantStreamError
from include.settings import Settings
from include.warehouse.alert_acts import find_key
from include.warehouse.db import connect
from tests.life.pictures import finding
from tests.pipeline.test_alerting import CLASSES, keep

pytestmark = pytest.mark.stack
Invoke = Callable[..., str]


@pytest.fixture
def invoke(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    monkeypatch.setattr("include.settings.load_settings", lambda **overrides: settings)

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(cli.app, ["alerts", *arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def test_alerts_are_listed_shown_acknowledged_and_resolved(invoke: Invoke, settings: Settings) -> None:
    assert invoke("list") == "No alert is open or acknowledged.\n"
    assert invoke("list", "--status", "all", "--symbol", "AAPL") == "There is no alert that fits.\n"
    with connect(settings) as conn:
        keep(conn, [finding(1, measures=(Measure("volume", 900.0, 80.0, 120.0),)), finding(2, 4.5)])
        keep(conn, [finding(9, symbol=one) for one in ("MSFT", "NVDA", "TSLA")], judged=["MSFT", "NVDA", "TSLA"])
        (key,) = conn.execute("select alert_key from marts.alerts where symbol = 'AAPL'").fetchone() or ()
        (group,) = conn.execute("select alert_key from marts.alerts where symbols is not null").fetchone() or ()
    first, *listed = invoke("list").splitlines()
    assert first.split() == ["key", "status", "severity", "since", "(UTC)", "until", "n", "alert"]
    assert listed[0].split()[:8] == [key[:8], "open", "warning", "2026-01-02", "09:01", "09:02", "2", "AAPL:"]
    assert len(listed) == 2 and "3 instruments at once" in listed[1]
    assert [json.loads(line)["alert_key"] for line in invoke("list", "--symbol", "AAPL", "--json").splitlines()] == [
        key
    ]
    assert len(invoke("list", "--symbol", "MSFT").splitlines()) == 3  # itself, and the group that it is in

    shown = invoke("show", key[:6].upper())
    for said in (
        "AAPL: 3.5 at 1", "candles      2026-01-02 09:01 to 09:02 UTC, 2 findings", "latest       4.5 at 2",
        "peak         4.5 (limit 3) at 09:02", "opened",
    ):  # fmt: skip
        assert said in shown
    assert json.loads(invoke("show", key, "--json"))["measures"] == []  # those of the peak

    assert invoke("ack", key, "--by", "ann", "--note", "seen") == "acknowledged: AAPL: 3.5 at 1\n"
    assert invoke("ack", key) == "nothing to do, it is acknowledged by ann already: AAPL: 3.5 at 1\n"
    assert "acknowledged by ann: seen" in invoke("show", key)
    assert invoke("resolve", group, "--by", "bob").endswith("with 3 members\n")
    assert len(invoke("list").splitlines()) == 2
    assert "resolved by bob" in invoke("list", "--status", "resolved")


def test_a_key_may_be_short_but_not_too_short_and_must_be_one(settings: Settings) -> None:
    with connect(settings) as conn:
        for key in ("abcdef01" + "0" * 56, "abcdef02" + "0" * 56):
            conn.execute(
                "insert into marts.alerts (alert_key, rule, category, severity, symbol, message) "
                "values (%s, 'zscore', 'market', 'info', 'AAPL', 'up')",
                [key],
            )
        assert find_key(conn, "ABCDEF01") == "abcdef01" + "0" * 56
        with pytest.raises(QuantStreamError, match=r"give more digits:\n  abcdef0100000000  AAPL: up\n  abcdef02"):
            find_key(conn, "abcdef")
        with pytest.raises(QuantStreamError, match="no alert has a key that begins with 123456"):
            find_key(conn, "123456")
        for wrong in ("abcde", "no key at all", "AAPL09"):
            with pytest.raises(ConfigError, match="give at least its first 6 digits"):
                find_key(conn, wrong)


def test_mutes_are_made_listed_and_ended(invoke: Invoke, settings: Settings) -> None:
    assert invoke("mutes") == "Nothing is muted.\n"
    said = invoke("mute", "--symbol", "AAPL", "--rule", "zscore", "--for", "2h", "--reason", "split", "--by", "ann")
    assert said.startswith("mute 1: nobody is told of AAPL zscore until ")
    assert [word in invoke("mutes") for word in ("AAPL zscore", "ann", "split")] == [True] * 3
    with connect(settings) as conn:
        (now,) = conn.execute("select clock_timestamp()").fetchone() or ()
        keep(conn, [finding(1)], now=now)
        keep(conn, [finding(1, symbol="MSFT")], judged=["MSFT"], now=now)
        states = conn.execute("select symbol, state from marts.alerts order by 1").fetchall()
    assert states == [("AAPL", "muted"), ("MSFT", "new")]
    assert invoke("unmute", "1") == "mute 1 is over\n"
    assert invoke("mutes") == "Nothing is muted.\n"
    assert set(CLASSES) > {"AAPL", "MSFT"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "either --for 2h or --until"),
        (("--for", "2h", "--until", "2026-01-01"), "either --for 2h or --until"),
        (("--for", "2 hours"), r"write a number and m, h or d"),
        (("--until", "2020-01-01"), "that is over already"),
        (("--for", "2h", "--symbol", "APPL"), r"no such instrument or portfolio \(did you mean 'AAPL'\?\)"),
        (("--for", "2h", "--rule", "zcore"), r"no such rule \(did you mean 'zscore'\?\)"),
    ],
)
def test_a_mute_that_means_nothing_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.setattr("include.settings.load_settings", lambda **overrides: settings)
    with pytest.raises(ConfigError, match=said):
        CliRunner().invoke(cli.app, ["alerts", "mute", *arguments], catch_exceptions=False)
