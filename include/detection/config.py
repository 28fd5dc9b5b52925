"""`detection.yml`: which rules run, with which thresholds, per asset class and per instrument.

A mistake is reported with the file, the line, the value and what is allowed, all mistakes at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Generic, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from include.alerts import Severity
from include.errors import ConfigError
from include.instruments import AssetClass

RuleName = Literal["zscore", "change", "sma_cross", "source_divergence"]
RULES: Final[tuple[RuleName, ...]] = get_args(RuleName)
Limit = Annotated[float, Field(gt=0, allow_inf_nan=False)]

Place = tuple[str, ...]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Params(_Model):
    """What every rule takes."""

    enabled: bool = True
    severity: Severity = "warning"


class ZscoreParams(Params):
    threshold: Limit = Field(3.0, description="standard deviations, above 0")


class ChangeParams(Params):
    threshold: Limit = Field(5.0, description="percent, above 0")


class SmaCrossParams(Params):
    severity: Severity = "info"


class SourceDivergenceParams(Params):
    threshold: Limit = Field(100.0, description="basis points, above 0")
    consecutive: int = Field(3, ge=1, le=60, description="candles in a row, 1 to 60")


P = TypeVar("P", bound=Params)


class _Overrides(_Model, Generic[P]):
    asset_classes: dict[AssetClass, P] = {}
    instruments: dict[str, P] = {}


class ZscoreRule(_Overrides[ZscoreParams], ZscoreParams):
    pass


class ChangeRule(_Overrides[ChangeParams], ChangeParams):
    pass


class SmaCrossRule(_Overrides[SmaCrossParams], SmaCrossParams):
    pass


class SourceDivergenceRule(_Overrides[SourceDivergenceParams], SourceDivergenceParams):
    pass


class Rules(_Model):
    """One field per rule; what is left out has its defaults."""

    zscore: ZscoreRule = ZscoreRule()
    change: ChangeRule = ChangeRule()
    sma_cross: SmaCrossRule = SmaCrossRule()
    source_divergence: SourceDivergenceRule = SourceDivergenceRule()


class Detection(_Model):
    """The whole file."""

    rules: Rules = Rules()

    def params(self, rule: RuleName, symbol: str, asset_class: str | None) -> Params:
        """What holds for one symbol: its own override over its asset class's over the rule's."""
        general: Any = getattr(self.rules, rule)
        layers = (general.asset_classes.get(asset_class), general.instruments.get(symbol))
        nearer = {name: value for layer in layers if layer for name, value in _given(layer)}
        params: Params = general.model_copy(update=nearer) if nearer else general
        return params


def load_detection(path: Path, symbols: Mapping[str, object] | None = None) -> Detection:
    """Read and check the file. With `symbols` (what is traded), an override for any other symbol is a mistake too.

    Raises ConfigError listing every mistake with its line.
    """
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise ConfigError(f"cannot read {path} (setting QUANTSTREAM_DETECTION_FILE): {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no YAML: {error}") from None
    lines: dict[Place, int] = {}
    problems: list[tuple[int, str]] = []
    data = _plain(root, (), lines, problems) if root else {}
    found: Detection | None = None
    try:
        found = Detection.model_validate(data)
    except ValidationError as error:
        for problem in error.errors():
            at = tuple(str(part) for part in problem["loc"] if part != "[key]")
            problems.append((_line(at, lines), _explain(at, problem)))
    if found is not None and symbols is not None:
        problems += [(_line(at, lines), text) for at, text in _unknown_symbols(found, symbols)]
    if problems or found is None:
        said = (f"{path}:{line}: {text}" for line, text in sorted(problems))
        raise ConfigError("\n  ".join(["wrong detection rules:", *said]))
    return found


def _given(layer: Params) -> Iterator[tuple[str, object]]:
    return ((name, getattr(layer, name)) for name in layer.model_fields_set)


def _plain(node: yaml.Node, at: Place, lines: dict[Place, int], problems: list[tuple[int, str]]) -> Any:
    """The node as plain data, keys always as text (`ON` is a ticker, not true), with the line of each place."""
    lines.setdefault(at, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        data = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in data:
                problems.append((line, f"{'.'.join((*at, name))} stands here twice (first in line {lines[*at, name]})"))
            lines.setdefault((*at, name), line)
            data[name] = _plain(value, (*at, name), lines, problems)
        return data
    if isinstance(node, yaml.SequenceNode):
        return [_plain(value, (*at, str(n)), lines, problems) for n, value in enumerate(node.value)]
    return yaml.SafeLoader("").construct_object(node)


def _line(at: Place, lines: Mapping[Place, int]) -> int:
    """The line of this place, or of the nearest one around it."""
    while at and at not in lines:
        at = at[:-1]
    return lines.get(at, 1)


def _explain(at: Place, problem: Any) -> str:
    name = ".".join(at) or "the file"
    if problem["type"] == "extra_forbidden":
        what = "rule" if at[:-1] == ("rules",) else "key"
        allowed = list(_model_at(at[:-1]).model_fields)
        return f"unknown {what} {at[-1]!r}{_meant(at[-1], allowed)}; allowed: {', '.join(allowed)}"
    fields = _model_at(at[:-1]).model_fields if at else {}
    meaning = fields[at[-1]].description if at and at[-1] in fields else None
    wanted = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{name} is {problem['input']!r:.60}: {wanted}" + (f" ({meaning})" if meaning else "")


def _model_at(at: Place) -> type[BaseModel]:
    """The model that describes the mapping at this place of the file."""
    if not at:
        return Detection
    if len(at) == 1:
        return Rules
    rule = Rules.model_fields[at[1]].annotation if at[1] in RULES else Rules
    if len(at) > 3 and rule is not None:  # rules.<rule>.instruments.<symbol>
        return next(base for base in rule.__mro__ if base.__name__.endswith("Params"))
    return rule or Rules


def _unknown_symbols(found: Detection, symbols: Mapping[str, object]) -> Iterator[tuple[Place, str]]:
    for rule in RULES:
        for symbol in getattr(found.rules, rule).instruments:
            if symbol not in symbols:
                yield (
                    ("rules", rule, "instruments", symbol),
                    f"unknown symbol {symbol!r}{_meant(symbol, symbols)}; allowed: the symbols of the instruments file "
                    "and those registered with --add-instruments",
                )


def _meant(word: str, known: Any) -> str:
    near = difflib.get_close_matches(word, [str(one) for one in known], n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
