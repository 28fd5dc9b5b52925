"""Dependencies point inward: dags and plugins use include/; inside it, the parts do not know each other.

What joins them is a use case in include/pipeline/. The commands and the stack may use everything.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.settings import ROOT

PARTS = {
    "feeds", "sources", "stream", "lake", "warehouse", "quality", "transform", "detection", "notify", "charts",
    "backtest", "life", "models", "scoring",
}  # fmt: skip
CORE = {"aws", "alerts", "calendars", "crashpoints", "errors", "events", "instruments", "settings", "yaml_lines"}
# What every part may use of the warehouse: its connection and leases, where alerts are written, open hours, candles.
# Of detection: what a finding is.
SHARED = {
    "include.detection.findings",
    "include.warehouse.db", "include.warehouse.leases", "include.warehouse.alerts", "include.warehouse.sessions",
    "include.warehouse.candles",
}  # fmt: skip

MODULES = sorted(path for path in (ROOT / "include").rglob("*.py") if "migrations" not in path.parts)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: write the import out (from include.x import y)"
            yield node.lineno, node.module or ""
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def room(name: str) -> str:
    return [*name.split("."), "", ""][1]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_is_further_in(path: Path) -> None:
    here = path.relative_to(ROOT / "include").parts[0].removesuffix(".py")
    for line, name in imports(path):
        where = f"{path.relative_to(ROOT)}:{line}"
        assert name.split(".")[0] != "airflow", f"{where}: include/ does not import Airflow"
        if name.split(".")[0] != "include" or name in SHARED or ".".join(name.split(".")[:3]) in SHARED:
            continue
        other = room(name)
        if here in PARTS:
            assert other not in PARTS - {here}, f"{where}: {here} must not know {other}; join them in include/pipeline/"
            assert other not in {"pipeline", "stack", "commands", "cli"}, f"{where}: {here} must not know {other}"
        if here in CORE and other in PARTS:
            assert here == "settings" and other in ("sources", "feeds"), f"{where}: the core must not know {other}"


def test_the_rule_sees_the_modules() -> None:
    assert {path.relative_to(ROOT / "include").parts[0] for path in MODULES} >= PARTS


def test_dbt_is_not_a_python_package() -> None:
    assert not (ROOT / "dbt" / "__init__.py").exists(), "it would shadow the dbt package"


def test_modules_stay_small() -> None:
    long = {str(path.relative_to(ROOT)): n for path in MODULES if (n := len(path.read_text().splitlines())) > 400}
    assert not long, f"split these: {long}"
