"""Great Expectations as an engine: a frame and a suite in, what failed out. Nothing it does leaves this process."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from include.quality.suites import Rule, rule, suite

if TYPE_CHECKING:
    import pandas as pd

LINE: Final = "line_number"
_EXAMPLES: Final = 5
_SHOWN: Final = 60


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


def expectation_name(of: Rule) -> str:
    """`expect_column_values_to_be_between` for ExpectColumnValuesToBeBetween."""
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in of.expectation).lstrip("_")


def check(subject: str, asset: str, frame: pd.DataFrame, key: str, parameters: Mapping[str, Any]) -> Checked:
    """Hold the rules of `subject` against a frame. `key` is the column that names a row for people; if it is LINE, the
    failures of rules on rows carry the line numbers.

    A rule that cannot be evaluated has failed: its batch is not to be trusted.
    """
    context = _context()
    from great_expectations.validator.v1_validator import Validator

    whole = (
        context.data_sources.add_pandas("warehouse")
        .add_dataframe_asset(asset)
        .add_batch_definition_whole_dataframe(subject)
    )
    # What `Batch.validate` does, without making the batch (and a fingerprint of the whole frame) twice.
    validator = Validator(
        batch_definition=whole,
        batch_parameters={"dataframe": frame},
        result_format={"result_format": "COMPLETE", "unexpected_index_column_names": [key]},
    )
    result = validator.validate_expectation_suite(suite(subject), dict(parameters))
    failed = tuple(_failure(one, frame, key) for one in result.results if not one.success)
    return Checked(failed, result)


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
    broken = rule(outcome.expectation_config.meta["rule"])
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
