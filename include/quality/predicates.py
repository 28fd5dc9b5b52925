"""Rules as SQL, so that the database can look at every row and hand over only those that are worth showing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from include.quality.suites import Rule


def breaks(rule: Rule) -> str:
    """A condition that is true of the rows that break a rule on rows, and not of those that hold.

    Names columns and constants of the rules, nothing from outside. Raises KeyError for an expectation that it does not
    know, or that has a parameter.
    """
    return _CONDITIONS[rule.expectation](rule.arguments)


def _null(of: Mapping[str, Any]) -> str:
    return f"{of['column']} is null"


def _outside(of: Mapping[str, Any]) -> str:
    limits = [
        (of.get("min_value"), "<=" if of.get("strict_min") else "<"),
        (of.get("max_value"), ">=" if of.get("strict_max") else ">"),
    ]
    return " or ".join(f"{of['column']} {sign} {float(limit)!r}::float8" for limit, sign in limits if limit is not None)


def _smaller(of: Mapping[str, Any]) -> str:
    return f"{of['column_A']} {'<' if of.get('or_equal') else '<='} {of['column_B']}"


_CONDITIONS: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "ExpectColumnValuesToNotBeNull": _null,
    "ExpectColumnValuesToBeBetween": _outside,
    "ExpectColumnPairValuesAToBeGreaterThanB": _smaller,
}
