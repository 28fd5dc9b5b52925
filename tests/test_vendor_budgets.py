"""QUANTSTREAM_VENDOR_BUDGETS: what can be written there, and what is refused."""

from __future__ import annotations

import pytest

from include.errors import ConfigError
from include.settings import load_settings


@pytest.mark.parametrize(
    ("text", "budgets"),
    [
        ("", {}),
        ("yahoo=60/minute+2000/day,kraken=30/minute", {"yahoo": "60/minute+2000/day", "kraken": "30/minute"}),
        (" polygon = 100/minute , ", {"polygon": "100/minute"}),
    ],
)
def test_a_budget_for_each_vendor(monkeypatch: pytest.MonkeyPatch, text: str, budgets: dict[str, str]) -> None:
    monkeypatch.setenv("QUANTSTREAM_VENDOR_BUDGETS", text)
    assert load_settings().vendor_budgets == budgets


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bloomberg=5/minute", "there is no vendor 'bloomberg'; allowed: simulator, coingecko, yahoo"),
        ("yahoo=60", "yahoo: '60' is no budget; allowed are 60/minute, 2000/day or 60/minute+2000/day, not 0"),
        ("yahoo=0/minute", "yahoo: '0/minute' is no budget"),
        ("yahoo=60/hour", "yahoo: '60/hour' is no budget"),
        ("yahoo", "yahoo: '' is no budget"),
        ("yahoo=1/day,yahoo=2/day", "yahoo is there twice; write yahoo=60/minute+2000/day"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(monkeypatch: pytest.MonkeyPatch, text: str, said: str) -> None:
    monkeypatch.setenv("QUANTSTREAM_VENDOR_BUDGETS", text)
    with pytest.raises(ConfigError, match="QUANTSTREAM_VENDOR_BUDGETS = ") as refused:
        load_settings()
    assert said in str(refused.value)
    assert text.partition("=")[0] in str(refused.value)
