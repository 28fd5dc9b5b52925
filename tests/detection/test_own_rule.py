"""A rule of one's own: one file and one line; and what is said of one that is none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from include.detection.config import load_detection
from include.errors import ConfigError
from include.settings import ROOT
from tests.detection.pictures import find, rows, said


def example() -> str:
    """The rule of the page about detection."""
    page = (ROOT / "docs/detection.md").read_text()
    found = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert found, "docs/detection.md shows a rule of one's own"
    return found[1]


def test_the_rule_of_the_page_works_as_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "my_rules").mkdir()
    (tmp_path / "my_rules/gap_up.py").write_text(example())
    file = tmp_path / "detection.yml"
    file.write_text("own:\n  - my_rules/gap_up.py\nrules:\n  gap_up: {threshold: 2, severity: critical}\n")
    detection = load_detection(file)
    found = [one for one in find(rows(close=[100, 103, 103], low=[100, 102.5, 103]), detection) if one.rule == "gap_up"]
    assert said(found) == ["09:01 up"]
    assert (found[0].severity, found[0].value) == ("critical", pytest.approx(2.5))
    assert found[0].message == "2.5 % of nothing between two candles (limit 2 %)"


def test_its_parameters_are_checked_as_the_others_are(tmp_path: Path) -> None:
    (tmp_path / "gap_up.py").write_text(example())
    file = tmp_path / "detection.yml"
    file.write_text("own: [gap_up.py]\nrules:\n  gap_up:\n    treshold: 2\n")
    with pytest.raises(ConfigError, match=r"detection\.yml:4: unknown key 'treshold' \(did you mean 'threshold'\?\)"):
        load_detection(file)


WRONG = {
    "no such file": ("nowhere.py", "", "there is no file .*nowhere.py; write module.path:ClassName, or the path of"),
    "no such module": ("no.such.module:Rule", "", "'no.such.module' cannot be imported: ModuleNotFoundError"),
    "a broken file": ("own.py", "import nosuchthing", "own.py cannot be imported: ModuleNotFoundError"),
    "a file that is no Python": ("own.py", "def", "own.py cannot be imported: SyntaxError: .*; mend the file"),
    "no rule in it": ("own.py", "class Gap: pass", "own.py has 0 rules, not one; rules in it: none"),
    "no such class": ("include.detection.rules.bands:Zscor", "", "has no rule 'Zscor'; rules in it: Bollinger"),
    "one of the platform's": (
        "include.detection.rules.bands:Zscore", "", "the rule Zscore is called 'zscore', as one of the platform's own",
    ),
    "without a name": ("own.py", "NAMELESS", "the rule Mine has no `name`; every rule needs one"),
    "a default out of bounds": ("own.py", "BOUNDS", "the rule Mine has parameters without a fit default"),
}  # fmt: skip
_RULE = """
from pydantic import Field
from include.detection.rule import Marks, Params, Rule
class Of(Params):
    needed: int = Field(description="no default") if {needed} else 1
class Mine(Rule[Of]):
    {name}
    title, params, needs = "Mine", Of, ("close",)
    def find(self, rows, params, models): ...
    def message(self, mark, params): ...
"""


@pytest.mark.parametrize(("line", "text", "expected"), WRONG.values(), ids=WRONG)
def test_what_is_no_rule_is_refused_with_its_line(tmp_path: Path, line: str, text: str, expected: str) -> None:
    text = {
        "NAMELESS": _RULE.format(name="", needed=False),
        "BOUNDS": _RULE.format(name='name = "x"', needed=True),
    }.get(text, text)
    (tmp_path / "own.py").write_text(text)
    file = tmp_path / "detection.yml"
    file.write_text(f"rules: {{}}\nown:\n  - {line}\n")
    with pytest.raises(ConfigError, match=rf"detection\.yml:3: own rule {re.escape(repr(line))}: .*{expected}"):
        load_detection(file)


def test_two_of_the_same_name_are_one_too_many(tmp_path: Path) -> None:
    for name in ("one.py", "other.py"):
        (tmp_path / name).write_text(_RULE.format(name='name = "mine"', needed=False))
    file = tmp_path / "detection.yml"
    file.write_text("own: [one.py,\n  other.py]\n")
    with pytest.raises(ConfigError, match=r"detection\.yml:2: own rule 'other\.py': another rule is called 'mine'"):
        load_detection(file)
