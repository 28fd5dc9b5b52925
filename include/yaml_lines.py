"""A file of settings in YAML, checked by a pydantic model: each mistake with its file, its line and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from include.errors import ConfigError

Place = tuple[str, ...]
M = TypeVar("M", bound=BaseModel)


def read_checked(
    path: Path,
    model: type[M],
    *,
    setting: str,
    what: str,
    further: Any = None,
) -> M:
    """The file as this model; `further(found)` yields (place, text) of mistakes that the model does not see.

    `setting` names the setting that names the file, `what` the contents. Raises ConfigError listing every mistake.
    """
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise ConfigError(f"cannot read {path} (setting {setting}): {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no YAML: {error}") from None
    lines: dict[Place, int] = {}
    problems: list[tuple[int, str]] = []
    data = _plain(root, (), lines, problems) if root else {}
    found: M | None = None
    try:
        found = model.model_validate(data)
    except ValidationError as error:
        for problem in error.errors():
            at = tuple(str(part) for part in problem["loc"] if part != "[key]")
            problems.append((_line(at, lines), _explain(model, at, problem)))
    if found is not None and further is not None:
        problems += [(_line(at, lines), text) for at, text in further(found)]
    if problems or found is None:
        said = (f"{path}:{line}: {text}" for line, text in sorted(problems))
        raise ConfigError("\n  ".join([f"wrong {what}:", *said]))
    return found


def unknown(word: str, known: Collection[str], what: str, where: str) -> Iterator[str]:
    """The mistake that `word` is no such thing, if it is none."""
    if word not in known:
        yield f"unknown {what} {word!r}{meant(word, known)}; allowed: {where}"


def meant(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)`, or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


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


def _explain(model: type[BaseModel], at: Place, problem: Any) -> str:
    name = ".".join(at) or "the file"
    fields = around.model_fields if at and (around := _model_at(model, at[:-1])) else {}
    if problem["type"] == "extra_forbidden":
        return f"unknown key {at[-1]!r}{meant(at[-1], fields)}; allowed: {', '.join(fields)}"
    if problem["type"] == "missing":
        return f"{name} is missing"
    meaning = fields[at[-1]].description if at and at[-1] in fields else None
    wanted = problem["msg"].removeprefix("Value error, ")
    wanted = wanted[0].lower() + wanted[1:]
    return f"{name} is {problem['input']!r:.60}: {wanted}" + (f" ({meaning})" if meaning else "")


def _model_at(model: type[BaseModel], at: Place) -> type[BaseModel] | None:
    """The model that describes the mapping at this place of the file; None where none does."""
    kind: Any = model
    for part in at:
        kind = kind.model_fields[part].annotation if _is_model(kind) and part in kind.model_fields else _inner(kind)
    if not _is_model(kind):
        kind = next((one for one in get_args(kind) if _is_model(one)), None)
    return kind if _is_model(kind) else None


def _inner(kind: Any) -> Any:
    """What a list, a tuple or a mapping holds."""
    if get_origin(kind) is Union:
        kind = next((one for one in get_args(kind) if one is not type(None)), None)
    held = [one for one in get_args(kind) if one is not Ellipsis]
    return held[-1] if held and get_origin(kind) is not Literal else None


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
