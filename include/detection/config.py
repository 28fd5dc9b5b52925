"""`detection.yml`: which rules run and with what, in general, per asset class, instrument and portfolio.

What may be written is told by the rules themselves: each rule's parameters are a class of its own. A mistake is
reported with the file, the line, the value and what is allowed, all mistakes at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import ValidationError

from include.detection.registry import RULES, NotARuleError, load_own
from include.detection.rule import Params, Rule
from include.errors import ConfigError
from include.instruments import ASSET_CLASSES
from include.yaml_lines import Document, Place, explain, meant

SETTING: Final = "QUANTSTREAM_DETECTION_FILE"
LONGEST: Final = 10_080
"""Rows that a rule may look back: a week of minutes."""

_CLASSES, _INSTRUMENTS, _PORTFOLIOS = "asset_classes", "instruments", "portfolios"
_SECTIONS: Final = ("rules", "own")

Given = Mapping[str, Any]


class Detection:
    """Which rules run, and with what. Equal if they say the same; nothing in it changes."""

    def __init__(self, given: Mapping[str, Given] | None = None, rules: Mapping[str, Rule[Any]] = RULES) -> None:
        """`given` is what the file says of each rule, checked. Use `load_detection`, or `Detection.of` in code."""
        self.rules = dict(rules)
        self._given: dict[str, Given] = {name: dict(one) for name, one in (given or {}).items() if one}
        self._text = orjson.dumps([self._given, sorted(rules)], option=orjson.OPT_SORT_KEYS)
        self._variants: dict[str, tuple[Params, ...]] = {}
        self._known: dict[tuple[str, bytes], Params] = {}
        self._general: dict[str, Params] = {
            name: rule.params.model_validate(self._layers(name)[0]) for name, rule in self.rules.items()
        }

    @classmethod
    def of(cls, _rules: Mapping[str, Rule[Any]] = RULES, /, **given: Given) -> Detection:
        """The rules with these values, as they stand in the file under `rules`. Raises ConfigError."""
        wrong: list[tuple[Place, str]] = list(_problems(given, _rules, None, None))
        if wrong:
            raise ConfigError("\n  ".join(["wrong detection rules:", *(text for _, text in wrong)]))
        return cls(given, _rules)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Detection) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def params(self, rule: str, symbol: str, asset_class: str | None) -> Params:
        """What holds for one instrument or portfolio: its own values over its asset class's over the rule's."""
        general, classes, names = self._layers(rule)
        layers = [one for one in (classes.get(asset_class or ""), names.get(symbol)) if one]
        if not layers:
            return self._general[rule]
        merged = dict(general)
        for layer in layers:
            merged |= layer
        key = (rule, orjson.dumps(merged, option=orjson.OPT_SORT_KEYS))
        if key not in self._known:
            found: Params = self.rules[rule].params.model_validate(merged)
            self._known[key] = found
        return self._known[key]

    def enabled(self) -> tuple[str, ...]:
        """The rules that are enabled for something, in the order of the platform."""
        return tuple(name for name in self.rules if any(one.enabled for one in self.variants(name)))

    def history(self, rule: str) -> int:
        """How many rows before a row have to be known, whichever its instrument."""
        enabled = [one for one in self.variants(rule) if one.enabled]
        return max((self.rules[rule].history(one) for one in enabled), default=0)

    def is_uniform(self, rule: str) -> bool:
        """Whether the rule has the same values everywhere."""
        _, classes, names = self._layers(rule)
        return not classes and not names

    def variants(self, rule: str) -> tuple[Params, ...]:
        """All values that the rule may have somewhere."""
        if rule not in self._variants:
            general, classes, names = self._layers(rule)
            layers = product(({}, *classes.values()), ({}, *names.values()))
            self._variants[rule] = tuple(
                self.rules[rule].params.model_validate({**general, **one, **other}) for one, other in layers
            )
        return self._variants[rule]

    def _layers(self, rule: str) -> tuple[Given, Mapping[str, Given], Mapping[str, Given]]:
        """What is given in general, by asset class, and by name."""
        given = self._given.get(rule, {})
        overrides = (_CLASSES, _INSTRUMENTS, _PORTFOLIOS)
        general = {name: value for name, value in given.items() if name not in overrides}
        return general, given.get(_CLASSES) or {}, {**(given.get(_INSTRUMENTS) or {}), **(given.get(_PORTFOLIOS) or {})}


def load_detection(
    path: Path, symbols: Iterable[str] | None = None, portfolios: Iterable[str] | None = None
) -> Detection:
    """Read and check the file. With `symbols` (what is traded) and `portfolios`, an override for another is a mistake.

    Raises ConfigError listing every mistake with its line.
    """
    file = Document(path, SETTING)
    data = file.data
    if not isinstance(data, dict):
        file.wrong((), f"the file is {data!r:.60}: it must be a mapping with {' and '.join(_SECTIONS)}")
        data = {}
    for name in data:
        if name not in _SECTIONS:
            file.wrong((name,), f"unknown key {name!r}{meant(name, _SECTIONS)}; allowed: {', '.join(_SECTIONS)}")
    rules = dict(RULES)
    for place, rule, text in _own(data.get("own"), path.parent, rules):
        if rule is None:
            file.wrong(place, text)
        else:
            rules[rule.name] = rule
    given = data.get("rules") or {}
    if isinstance(given, dict):
        for place, text in _problems(given, rules, symbols, portfolios):
            file.wrong(place, text)
    else:
        file.wrong(("rules",), f"rules is {given!r:.60}: it must be a mapping of rules")
    file.check("detection rules")
    return Detection(given, rules)


def _own(named: object, folder: Path, known: Mapping[str, Rule[Any]]) -> Iterator[tuple[Place, Rule[Any] | None, str]]:
    """The rules that the section `own` names, or what is wrong with a line of it."""
    if named is None:
        return
    if not isinstance(named, list):
        yield ("own",), None, f"own is {named!r:.60}: it must be a list of rules, one a line"
        return
    seen = set(known)
    for place, one in enumerate(named):
        at = ("own", str(place))
        try:
            rule = load_own(str(one), folder)
        except NotARuleError as error:
            yield at, None, f"own rule {one!r}: {error}"
            continue
        if rule.name in seen:
            yield at, None, f"own rule {one!r}: another rule is called {rule.name!r}; give it another name"
            continue
        seen.add(rule.name)
        yield at, rule, ""


def _problems(
    given: Mapping[str, Any],
    rules: Mapping[str, Rule[Any]],
    symbols: Iterable[str] | None,
    portfolios: Iterable[str] | None,
) -> Iterator[tuple[Place, str]]:
    """What is wrong with what is said of the rules, each with its place."""
    for name, said in given.items():
        at: Place = ("rules", name)
        if name not in rules:
            yield at, f"unknown rule {name!r}{meant(name, rules)}; allowed: {', '.join(rules)}"
            continue
        yield from _RuleCheck(rules[name], at, symbols, portfolios).problems(said)


class _RuleCheck:
    """What may be said of one rule."""

    def __init__(
        self, rule: Rule[Any], at: Place, symbols: Iterable[str] | None, portfolios: Iterable[str] | None
    ) -> None:
        self.rule, self.at = rule, at
        self.fields = rule.params.model_fields
        self.overrides: dict[str, tuple[Iterable[str] | None, str, str]]
        if rule.reads == "portfolios":
            self.overrides = {_PORTFOLIOS: (portfolios, "portfolio", "those of the portfolios file")}
        else:
            where = "the symbols of the instruments file and those registered with --add-instruments"
            self.overrides = {
                _CLASSES: (ASSET_CLASSES, "asset class", ", ".join(ASSET_CLASSES)),
                _INSTRUMENTS: (symbols, "symbol", where),
            }

    def problems(self, said: object) -> Iterator[tuple[Place, str]]:
        if said is None:
            return
        if not isinstance(said, dict):
            yield self.at, f"{'.'.join(self.at)} is {said!r:.60}: it must be a mapping of its parameters"
            return
        general = {name: value for name, value in said.items() if name not in self.overrides}
        found = list(self._layer(general, {}, self.at, more=tuple(self.overrides)))
        for section, (known, what, allowed) in self.overrides.items():
            at, layers = (*self.at, section), said.get(section)
            if layers is None:
                continue
            if not isinstance(layers, dict):
                found.append((at, f"{'.'.join(at)} is {layers!r:.60}: it must be a mapping"))
                continue
            names = None if known is None else list(known)
            for name, layer in layers.items():
                if names is not None and name not in names:
                    found.append(((*at, name), f"unknown {what} {name!r}{meant(name, names)}; allowed: {allowed}"))
                if not isinstance(layer, dict):
                    found.append(((*at, name), f"{'.'.join((*at, name))} is {layer!r:.60}: it must be a mapping"))
                else:
                    found += self._layer(layer, {} if found else general, (*at, name))
        yield from found

    def _layer(self, layer: Given, under: Given, at: Place, more: tuple[str, ...] = ()) -> Iterator[tuple[Place, str]]:
        """What is wrong with these values, over those `under` them."""
        allowed = [*self.fields, *more]
        unknown = [name for name in layer if name not in self.fields]
        for name in unknown:
            yield (*at, name), f"unknown key {name!r}{meant(name, allowed)}; allowed: {', '.join(allowed)}"
        values = {name: value for name, value in layer.items() if name in self.fields}
        try:
            params = self.rule.params.model_validate({**under, **values})
        except ValidationError as error:
            for problem in error.errors():
                place = (*at, *(str(part) for part in problem["loc"]))
                field = self.fields.get(str(problem["loc"][0])) if problem["loc"] else None
                yield place, explain(".".join(place), problem, field.description if field else None)
            return
        if (rows := self.rule.history(params)) > LONGEST:
            name = self._why_so_long({**under, **values})
            yield (
                (*at, name),
                f"{'.'.join((*at, name))} is {values.get(name, under.get(name))!r}: the rule would look back {rows:,} "
                f"rows, further than the history that is kept; at most {LONGEST:,} (a week of minutes)",
            )

    def _why_so_long(self, values: dict[str, Any]) -> str:
        """The parameter without which the rule would look back the least."""

        def rows(name: str) -> int:
            rest = {other: value for other, value in values.items() if other != name}
            return self.rule.history(self.rule.params.model_validate(rest))

        return min(values, key=rows)
