"""Great Expectations as an engine: a frame and a suite in, what failed out. Nothing it does leaves this process."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from include.quality.suites import Rule, rule, rules_of, suite, suite_of

if TYPE_CHECKING:
    import pandas as pd

LINE: Final = "line_number"
_EXAMPLES: Final = 5
_SHOWN: Final = 60
_alone: Final = threading.Lock()  # Great Expectations knows one context per process at a time


@dataclass(frozen=True, slots=True)
class Failure:
    """A rule that does not hold: `observed` as text for people, `lines` the line numbers of the rows that break it.

    Where rows are no lines, `parts` says what was observed of each one that breaks it.
    """

    rule: Rule
    observed: str
    lines: tuple[int, ...] = ()
    reasons: tuple[str, ...] = ()
    value: float | None = None
    parts: tuple[tuple[str, str], ...] = ()

    @property
    def rejects(self) -> bool:
        """Whether it rejects the whole: a rule on the batch, or one on rows that could not name any."""
        return self.rule.level == "batch" or (self.rule.level == "row" and not self.lines)

    def as_json(self) -> dict[str, Any]:
        """For `ops.loads.failures`."""
        return {
            "rule": self.rule.name,
            "expectation": expectation_name(self.rule),
            "columns": self.rule.columns,
            "level": self.rule.level,
            "observed": self.observed,
            "rows": len(self.lines),
            "meaning": self.rule.meaning,
        }

    def __str__(self) -> str:
        named = f"{expectation_name(self.rule)}({self.rule.columns})"
        return f"{self.rule.name} [{named}]: {self.observed}; {self.rule.meaning}"


@dataclass(frozen=True, slots=True)
class Checked:
    """The outcome for one frame: what failed, and Great Expectations' own result for the data docs."""

    failures: tuple[Failure, ...]
    result: Any


class Exact(Protocol):
    """The numbers that the doubles of a frame stand for."""

    def exact(self) -> pd.DataFrame:
        """The frame with them instead."""

    def ties(self, one: str, other: str) -> bool:
        """Whether there are rows in which two columns are equal as doubles, but not as numbers."""


def expectation_name(of: Rule) -> str:
    """`expect_column_values_to_be_between` for ExpectColumnValuesToBeBetween."""
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in of.expectation).lstrip("_")


def check(
    subject: str,
    asset: str,
    frame: pd.DataFrame,
    key: str,
    parameters: Mapping[str, Any],
    exact: Exact | None = None,
) -> Checked:
    """Hold the rules of `subject` against a frame. `key` is the column that names a row for people; if it is LINE, the
    failures of rules on rows carry the line numbers.

    What breaks a rule is listed in a second pass, over the rules that do not hold. With `exact`, `frame` holds doubles,
    and the second pass looks at the numbers that they stand for, also for rules on which doubles cannot be trusted.
    A rule that cannot be evaluated has failed: its batch is not to be trusted.
    """
    with _alone:
        data = _context().data_sources.add_pandas("warehouse").add_dataframe_asset(asset)
        found = _validate(data, suite(subject), frame, parameters, "BASIC", key)
        doubted = [one for one in found.results if not one.success or _cannot_tell(_rule_of(one), exact)]
        if not doubted:
            return Checked((), found)
        names = {_rule_of(one).name for one in doubted}
        again = suite_of(f"{subject}, listed", [one for one in rules_of(subject) if one.name in names])
        whole = frame if exact is None else exact.exact()
        listed = _validate(data, again, whole, parameters, "COMPLETE", key).results
    seen = {_rule_of(one).name: one for one in listed}
    found.results = [seen.get(_rule_of(one).name, one) for one in found.results]
    return Checked(tuple(_failure(one, whole, key) for one in found.results if not one.success), found)


def _validate(data: Any, rules: Any, frame: pd.DataFrame, parameters: Mapping[str, Any], detail: str, key: str) -> Any:
    from great_expectations.validator.v1_validator import Validator

    # What `Batch.validate` does, without making the batch (and a fingerprint of the whole frame) twice.
    validator = Validator(
        batch_definition=data.add_batch_definition_whole_dataframe(rules.name),
        batch_parameters={"dataframe": frame},
        result_format={"result_format": detail, "unexpected_index_column_names": [key]},
    )
    return validator.validate_expectation_suite(rules, dict(parameters))


def _rule_of(outcome: Any) -> Rule:
    return rule(outcome.expectation_config.meta["rule"])


def _cannot_tell(one: Rule, exact: Exact | None) -> bool:
    if exact is None or "column_A" not in one.arguments:
        return False
    return exact.ties(one.arguments["column_A"], one.arguments["column_B"])


def import_great_expectations() -> None:
    """The heavy import (seconds), with its telemetry off."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # what it imports is not ours to mend
        import great_expectations
        import great_expectations.expectations  # noqa: F401


def _context() -> Any:
    # A new one each time: it takes milliseconds, and an old one would keep every frame it has seen.
    import_great_expectations()
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),  # the default one touches the disk each time
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    return gx.get_context(mode="ephemeral", project_config=config)


def _failure(outcome: Any, frame: pd.DataFrame, key: str) -> Failure:
    broken = _rule_of(outcome)
    raised = _raised(outcome.exception_info)
    if raised:
        return Failure(broken, f"could not be evaluated: {raised:.500}")
    result = outcome.result
    named = {index[key] for index in result.get("unexpected_index_list") or ()}
    if not named:
        return Failure(broken, f"observed {result.get('observed_value')}")
    columns = (broken.shown or broken.columns).split(", ")
    picked = frame.loc[frame[key].isin(named), [key, *columns]].drop_duplicates(key)
    found = [(name, _shown(columns, values)) for name, *values in picked.itertuples(index=False, name=None)]
    if broken.level != "row" or key != LINE:
        value = float(picked[columns[0]].iloc[0]) if len(columns) == 1 else None
        parts = tuple((str(name), text) for name, text in found)
        return Failure(broken, _examples([f"{name}: {text}" for name, text in parts]), value=value, parts=parts)
    check_name = f"{expectation_name(broken)}({broken.columns})"
    return Failure(
        broken,
        f"{len(found)} row{'s' if len(found) > 1 else ''}: {_examples([text for _, text in found])}",
        lines=tuple(int(name) for name, _ in found),
        reasons=tuple(f"{broken.name}: {check_name} found {text}; {broken.meaning}" for _, text in found),
    )


def _raised(info: Mapping[str, Any]) -> str:
    infos = [info] if "raised_exception" in info else list(info.values())
    return "; ".join(str(one.get("exception_message")) for one in infos if one.get("raised_exception"))


def _shown(columns: Sequence[str], values: Sequence[Any]) -> str:
    import pandas as pd

    texts = ["nothing" if pd.isna(value) else repr(value) if isinstance(value, str) else str(value) for value in values]
    cut = [text if len(text) <= _SHOWN else text[:_SHOWN] + "..." for text in texts]
    if len(columns) == 1:
        return cut[0]
    return ", ".join(f"{column} {text}" for column, text in zip(columns, cut, strict=True))


def _examples(texts: Sequence[str]) -> str:
    different = list(dict.fromkeys(texts))
    return ", ".join(different[:_EXAMPLES]) + (", ..." if len(different) > _EXAMPLES else "")
