"""The table of rules in docs/detection.md: `python -m tests.detection.rule_table` prints it."""

from __future__ import annotations

from collections.abc import Iterator

from include.detection.registry import RULES
from include.detection.rule import Params


def lines() -> Iterator[str]:
    yield "| rule | counts | takes (default) | severity |"
    yield "|---|---|---|---|"
    for name, rule in RULES.items():
        now = rule.params()
        own = [field for field in rule.params.model_fields if field not in Params.model_fields]
        if now.cooldown_minutes != Params().cooldown_minutes:
            own.append("cooldown_minutes")
        takes = ", ".join(f"`{field}` {_said(getattr(now, field))}" for field in own) or "-"
        off = "" if now.enabled else ", off"
        yield f"| `{name}` | {' '.join((type(rule).__doc__ or '').split())} | {takes} | {now.severity}{off} |"


def _said(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    print("\n".join(lines()))  # noqa: T201
