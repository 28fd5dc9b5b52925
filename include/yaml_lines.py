"""A file of settings in YAML: plain data, and the line that each place of it stands in.

A mistake is reported with its file, its line and what is allowed, all mistakes at once.
"""

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


class Document:
    """The data of a file; `problems` are its mistakes, each with its line."""

    def __init__(self, path: Path, setting: str) -> None:
        """Raises ConfigError if the file cannot be read or is no YAML; `setting` is what names it."""
        self.path = path
        self.lines: dict[Place, int] = {}
        self.problems: list[tuple[int, str]] = []
        try:
            root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        except OSError as error:
            raise ConfigError(f"cannot read {path} (setting {setting}): {error.strerror}") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is no YAML: {error}") from None
        self.data: Any = self._plain(root, ()) if root else {}

    def wrong(self, at: Place, text: str) -> None:
        """Note a mistake at a place, or at the nearest one around it that is there."""
        while at and at not in self.lines:
            at = at[:-1]
        self.problems.append((self.lines.get(at, 1), text))

    def check(self, what: str) -> None:
        """Raises ConfigError with all mistakes, if there are any."""
        if self.problems:
            said = (f"{self.path}:{line}: {text}" for line, text in sorted(self.problems))
            raise ConfigError("\n  ".join([f"wrong {what}:", *said]))

    def _plain(self, node: yaml.Node, at: Place) -> Any:
        """The node as plain data, keys always as text (`ON` is a ticker, not true)."""
        self.lines.setdefault(at, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            data = {}
            for key, value in node.value:
                name, line = str(key.value), key.start_mark.line + 1
                here = (*at, name)
                if name in data:
                    said = f"{'.'.join(here)} stands here twice (first in line {self.lines[here]})"
                    self.problems.append((line, said))
                self.lines.setdefault(here, line)
                data[name] = self._plain(value, here)
            return data
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(value, (*at, str(n))) for n, value in enumerate(node.value)]
        return yaml.SafeLoader("").construct_object(node)


def meant(word: str, known: Iterable[object]) -> str:
    """` (did you mean 'x'?)` for what is written nearly so, else nothing."""
    near = difflib.get_close_matches(word, [str(one) for one in known], n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def explain(name: str, problem: Mapping[str, Any], description: str | None) -> str:
    """What pydantic says of one value, in one sentence."""
    wanted = problem["msg"].removeprefix("Value error, ")
    wanted = wanted[0].lower() + wanted[1:]
    return f"{name} is {problem['input']!r:.60}: {wanted}" + (f" ({description})" if description else "")


def unknown(word: str, known: Collection[str], what: str, where: str) -> Iterator[str]:
    """The mistake that `word` is no such thing, if it is none."""
    if word not in known:
        yield f"unknown {what} {word!r}{meant(word, known)}; allowed: {where}"


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
    document = Document(path, setting)
    found: M | None = None
    try:
        found = model.model_validate(document.data)
    except ValidationError as error:
        for problem in error.errors():
            at = tuple(str(part) for part in problem["loc"] if part != "[key]")
            document.wrong(at, _explain(model, at, problem))
    if found is not None and further is not None:
        for at, text in further(found):
            document.wrong(at, text)
    document.check(what)
    assert found is not None  # noqa: S101  # else there was a mistake
    return found


def _explain(model: type[BaseModel], at: Place, problem: Any) -> str:
    name = ".".join(at) or "the file"
    fields = around.model_fields if at and (around := _model_at(model, at[:-1])) else {}
    if problem["type"] == "extra_forbidden":
        return f"unknown key {at[-1]!r}{meant(at[-1], fields)}; allowed: {', '.join(fields)}"
    if problem["type"] == "missing":
        return f"{name} is missing"
    return explain(name, problem, fields[at[-1]].description if at and at[-1] in fields else None)


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
