"""The rules by name: those that come with the platform, and one's own, each named by one line in `detection.yml`.

```
own:
  - my_rules/gap_up.py            # a file, beside detection.yml or absolute; the one rule in it
  - my_package.rules:GapUp        # a class of a module that Python can import
```
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final, get_args

from include.detection.rule import Params, Reads, Rule
from include.detection.rules import BUILT_IN

RULES: Final[Mapping[str, Rule[Any]]] = {one.name: one() for one in BUILT_IN}
"""What comes with the platform, by name."""

_REMEDY: Final = "write module.path:ClassName, or the path of a .py file (docs/detection.md shows one)"


class NotARuleError(ValueError):
    """What is named is no rule; the text says why and what to do."""


def load_own(named: str, folder: Path) -> Rule[Any]:
    """The rule that a line of `own` names; a path is taken from `folder`. Raises NotARuleError."""
    where, _, wanted = named.partition(":")
    module = _from_file(folder / where) if where.endswith(".py") else _from_module(where)
    there = [one for one in vars(module).values() if inspect.isclass(one) and _is_rule(one)]
    found = [one for one in there if (one.__name__ == wanted if wanted else one.__module__ == module.__name__)]
    if len(found) != 1:
        what = f"has no rule {wanted!r}" if wanted else f"has {len(found)} rules, not one"
        names = ", ".join(sorted(one.__name__ for one in there)) or "none"
        raise NotARuleError(f"{where} {what}; rules in it: {names}; {_REMEDY}")
    rule: Rule[Any] = found[0]()
    if said := _unfit(rule):
        raise NotARuleError(f"{where}: the rule {found[0].__name__} {said}")
    return rule


def _is_rule(one: type[object]) -> bool:
    return issubclass(one, Rule) and not inspect.isabstract(one)


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise NotARuleError(f"there is no file {path}; {_REMEDY}")
    name = f"quantstream_own_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # noqa: S101  # a .py file has both
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pydantic look it up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever it does
        raise NotARuleError(f"{path} cannot be imported: {_said(error)}; mend the file") from None
    return module


def _from_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise NotARuleError(f"{name!r} cannot be imported: {_said(error)}; {_REMEDY}") from None


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()):.200}"


def _unfit(rule: Rule[Any]) -> str | None:
    """What a rule lacks, in words."""
    for attribute in ("name", "title", "params", "needs"):
        if not getattr(rule, attribute, None):
            return f"has no `{attribute}`; every rule needs one"
    if not (inspect.isclass(rule.params) and issubclass(rule.params, Params)):
        return "has `params` that are no subclass of include.detection.rule.Params"
    if rule.reads not in get_args(Reads):
        return f"reads {rule.reads!r}; allowed: {', '.join(get_args(Reads))}"
    try:
        rule.params()
    except ValueError as error:
        return f"has parameters without a fit default: {' '.join(str(error).split()):.200}"
    if rule.name in RULES:
        return f"is called {rule.name!r}, as one of the platform's own; give it another name"
    return None
